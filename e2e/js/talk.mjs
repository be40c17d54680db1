// Somebody who has never heard of the tower talks to it: hello, commands, a session
// of their own, and /stop in the middle of an answer.
import assert from 'node:assert/strict'
import { api, bolt11In, connect, env, inbox04, inbox17, pay, person, restart, run, say04, say17, until } from './common.mjs'
import { finalizeEvent } from 'nostr-tools/pure'
import { getToken } from 'nostr-tools/nip98'

const answers = (inbox, id) => inbox.filter((m) => m.tags.some((t) => t[0] === 'e' && t[1] === id))

run(async () => {
  const me = person()
  let relay = await connect(me)
  let inbox = inbox17(relay, me)
  const tell = async (text) => {
    const { id } = await say17(relay, me, text)
    return until(() => answers(inbox, id)[0]?.content, `an answer to ${text}`)
  }

  const first = await say17(relay, me, 'What is the answer?')
  const bill = (await until(() => answers(inbox, first.id)[0], 'a bill')).content
  assert.match(bill, /^Hi! I'm Timmy, an AI you pay per question in sats\. A typical answer costs about \d+ sats\. Just ask, or send \/help\./)
  assert.match(await tell('/balance'), new RegExp(`An invoice of \\d+ sats waits for you[^]*^${bolt11In(bill)}$`, 'm'))
  assert.equal(bolt11In(await tell('/balance')), bolt11In(bill))

  await restart()
  relay = await connect(me)
  inbox = inbox17(relay, me)
  await pay(bolt11In(bill))
  await until(() => answers(inbox, first.id).some((m) => /is 42/.test(m.content)), 'the answer')
  const topUp = await tell('/topup 2000')
  await pay(bolt11In(topUp))
  await until(() => inbox.some((m) => /^✓ 2000 sats received/.test(m.content)), 'a notice of the money')

  const proof = await getToken(`${env.http}/identity/token`, 'POST', (e) => finalizeEvent(e, me.sk), true, {})
  const token = await api('POST', '/identity/token', {}, { authorization: proof })
  assert.equal(token.status, 200, token.text)
  const session = await api('POST', '/sessions', { amount_sats: 100, nostr_token: token.json.nostr_token })
  assert.equal(session.json.nostrPubkey, me.pk)
  await pay(session.json.invoice.paymentRequest)
  await until(async () => (await api('GET', `/sessions/${session.json.sessionId}`)).json?.state === 'active', 'the session')

  const before = await tell('/balance')
  assert.ok(before.includes(`Session ${session.json.sessionId.slice(0, 8)}…: 100 sats, active until `), before)
  await fetch(`${env.upstream}/hang`)
  const slow = await say17(relay, me, 'Tell me a long story.')
  await until(async () => Number(await (await fetch(`${env.upstream}/works`)).text()) >= 2, 'the model to be at it')
  assert.match(await tell('/stop'), /^Stopped 1 question\. You are not charged for it\./)
  const stopped = await until(() => answers(inbox, slow.id)[0]?.content, 'the end of the story')
  assert.match(stopped, /^Stopped\. You were not charged\./)
  assert.equal(await tell('/balance'), before, 'what was stopped is not charged')

  assert.match(await tell('/history money'), /-\d+ sats {2}charged for #req [0-9a-f]{4}\n?/)
  assert.match(await tell('/forget'), /^Deleted: /)
  assert.match(await tell('/hlep'), /Did you mean \/help\?/)

  const old = person()
  const legacy = await connect(old)
  const letters = inbox04(legacy, old)
  await say04(legacy, old, 'What is the answer?')
  const hello = await until(() => letters[0]?.text, 'an answer by NIP-04')
  assert.match(hello, /^Hi! I'm Timmy/)
  assert.match(hello, /old-style messages \(NIP-04\)/)
})
