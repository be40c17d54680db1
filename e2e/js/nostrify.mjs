// The same with nostrify, which answers the relay's challenge by itself and leaves the
// wrapping of messages to who uses it: its signer encrypts and signs.
import assert from 'node:assert/strict'
import { bolt11In, env, now, pay, person, restart, run, until } from './common.mjs'
import { NRelay1, NSecSigner } from '@nostrify/nostrify'
import { getEventHash } from 'nostr-tools/pure'

const key = person()
const signer = new NSecSigner(key.sk)

function connect() {
  const relay = new NRelay1(env.relay, {
    auth: (challenge) => signer.signEvent({ kind: 22242, created_at: now(), content: '', tags: [['relay', env.relay], ['challenge', challenge]] }),
  })
  const inbox = []
  const listen = async () => {
    for await (const msg of relay.req([{ kinds: [1059], '#p': [key.pk] }])) {
      if (msg[0] !== 'EVENT') continue
      const seal = JSON.parse(await signer.nip44.decrypt(msg[2].pubkey, msg[2].content))
      const rumor = JSON.parse(await signer.nip44.decrypt(seal.pubkey, seal.content))
      if (seal.pubkey === env.tower && rumor.pubkey === env.tower) inbox.push(rumor)
    }
  }
  listen().catch(() => {}) // the tower is killed
  return { relay, inbox }
}

async function wrapped(text) {
  const rumor = { kind: 14, pubkey: key.pk, created_at: now(), tags: [['p', env.tower]], content: text }
  rumor.id = getEventHash(rumor)
  const content = await signer.nip44.encrypt(env.tower, JSON.stringify(rumor))
  const seal = await signer.signEvent({ kind: 13, created_at: now(), tags: [], content })
  const once = new NSecSigner(person().sk)
  return once.signEvent({
    kind: 1059, created_at: now(), tags: [['p', env.tower]], content: await once.nip44.encrypt(env.tower, JSON.stringify(seal)),
  })
}

run(async () => {
  let { relay, inbox } = connect()
  const note = await signer.signEvent({ kind: 1, created_at: now(), tags: [], content: 'by nostrify' })
  await relay.event(note)
  const found = await relay.query([{ authors: [key.pk], kinds: [1] }])
  assert.deepEqual(found.map((e) => e.id), [note.id])
  assert.equal((await relay.getRelayInfo()).self, env.tower)

  await relay.event(await wrapped('What is 6*7?'))
  const bill = await until(() => inbox.find((m) => bolt11In(m.content)), 'an invoice')

  await restart()
  await relay.close()
  ;({ relay, inbox } = connect())
  await pay(bolt11In(bill.content))
  const answer = await until(() => inbox.find((m) => /\b42\b/.test(m.content)), 'the answer')
  assert.equal(answer.kind, 14)
})
