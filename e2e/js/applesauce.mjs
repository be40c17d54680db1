// The same with applesauce: a note is published and read, the relay is told who we are,
// a question goes as a wrapped message, is billed, and after the tower was killed answered.
import assert from 'node:assert/strict'
import { bolt11In, env, pay, restart, run, until } from './common.mjs'
import { Relay } from 'applesauce-relay'
import { PrivateKeySigner } from 'applesauce-signers'
import { GiftWrapFactory, WrappedMessageFactory } from 'applesauce-common/factories'
import { unlockGiftWrap } from 'applesauce-common/helpers'

const signer = new PrivateKeySigner()

// connect opens a relay, proves our key, and collects what the tower writes to us.
async function connect() {
  const me = await signer.getPublicKey()
  const relay = new Relay(env.relay)
  const inbox = []
  const open = relay.subscription({ kinds: [1059], '#p': [me] }, { reconnect: false }).subscribe({
    next: async (evt) => {
      if (typeof evt === 'string') return
      const rumor = await unlockGiftWrap(evt, signer)
      if (rumor.pubkey === env.tower) inbox.push(rumor)
    },
    error: () => {}, // the tower is killed
  })
  await until(() => relay.challenge, 'an AUTH challenge')
  const said = await relay.authenticate(signer)
  assert.ok(said.ok, said.message)
  return { relay, inbox, close: () => open.unsubscribe() }
}

run(async () => {
  const me = await signer.getPublicKey()
  let { relay, inbox, close } = await connect()

  const note = await signer.signEvent({ kind: 1, created_at: Math.floor(Date.now() / 1000), tags: [], content: 'by applesauce' })
  assert.ok((await relay.publish(note)).ok, 'a note is published')
  const found = []
  relay.request({ authors: [me], kinds: [1] }).subscribe({ next: (e) => found.push(e), error: () => {} })
  await until(() => found.some((e) => e.id === note.id), 'the note')

  const ask = async (text) => {
    const rumor = await WrappedMessageFactory.create(env.tower, text).as(signer).stamp()
    const wrap = await GiftWrapFactory.create(signer, env.tower, rumor)
    const said = await relay.publish(wrap)
    assert.ok(said.ok, said.message)
  }
  await ask('What is 6*7?')
  const bill = await until(() => inbox.find((m) => bolt11In(m.content)), 'an invoice')

  await restart()
  close()
  ;({ relay, inbox } = await connect())
  await pay(bolt11In(bill.content))
  const answer = await until(() => inbox.find((m) => /\b42\b/.test(m.content)), 'the answer')
  assert.equal(answer.kind, 14)
})
