// A stranger asks by NIP-17, is told the price with an invoice, pays it, and is
// answered; the answer names the question it answers.
import assert from 'node:assert/strict'
import { bolt11In, connect, inbox17, pay, person, restart, run, say17, until } from './common.mjs'

run(async () => {
  const me = person()
  let relay = await connect(me)
  let inbox = inbox17(relay, me)

  const asked = await say17(relay, me, 'What is 6*7?')
  const bill = await until(() => inbox.find((m) => bolt11In(m.content)), 'an invoice')
  assert.ok(bill.tags.some((t) => t[0] === 'e' && t[1] === asked.id), 'the bill names the question')
  assert.ok(bill.tags.some((t) => t[0] === 'p' && t[1] === me.pk), 'the bill is addressed')

  await restart()
  relay = await connect(me)
  inbox = inbox17(relay, me)
  await until(() => inbox.some((m) => m.id === bill.id), 'the bill, still there')
  await pay(bolt11In(bill.content))

  const answer = await until(() => inbox.find((m) => /\b42\b/.test(m.content)), 'the answer')
  assert.ok(answer.tags.some((t) => t[0] === 'e' && t[1] === asked.id), 'the answer names the question')
  assert.match(answer.content, /sats/, 'the answer says what it cost')
  assert.equal(answer.kind, 14)

  await say17(relay, me, '/balance')
  const balance = await until(() => inbox.find((m) => /balance/i.test(m.content) && m.id !== bill.id && m.id !== answer.id), 'the balance')
  assert.match(balance.content, /\d+ sats/)

  const again = await say17(relay, me, 'What is 5*5?')
  const second = await until(() => inbox.find((m) => m.tags.some((t) => t[0] === 'e' && t[1] === again.id)), 'a second answer')
  assert.match(second.content, /\b25\b/)
})
