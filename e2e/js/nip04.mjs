// A client that knows only NIP-04 is answered in NIP-04, and never in another
// scheme.
import assert from 'node:assert/strict'
import { bolt11In, connect, inbox04, inbox17, pay, person, restart, run, say04, until } from './common.mjs'

run(async () => {
  const me = person()
  let relay = await connect(me)
  let inbox = inbox04(relay, me)

  const asked = await say04(relay, me, 'What is 12*12?')
  const bill = await until(() => inbox.find((m) => bolt11In(m.text)), 'an invoice')
  assert.ok(bill.tags.some((t) => t[0] === 'e' && t[1] === asked.id), 'the bill names the question')
  await pay(bolt11In(bill.text))

  await restart()
  relay = await connect(me)
  inbox = inbox04(relay, me)
  const wraps = inbox17(relay, me)
  const answer = await until(() => inbox.find((m) => /\b144\b/.test(m.text)), 'the answer')
  assert.ok(answer.tags.some((t) => t[0] === 'e' && t[1] === asked.id))
  assert.equal(wraps.length, 0, 'no NIP-17 answer to a NIP-04 question')
})
