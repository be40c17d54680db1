// The same with NDK, which brings its own connection handling, AUTH policy and
// NIP-17 code.
import assert from 'node:assert/strict'
import NDK, { NDKEvent, NDKPrivateKeySigner, NDKRelayAuthPolicies, NDKUser, giftUnwrap, giftWrap } from '@nostr-dev-kit/ndk'
import { bolt11In, env, now, pay, person, restart, run, until } from './common.mjs'

run(async () => {
  const me = person()
  const signer = new NDKPrivateKeySigner(Buffer.from(me.sk).toString('hex'))
  const ndk = new NDK({ explicitRelayUrls: [env.relay], signer, enableOutboxModel: false })
  ndk.relayAuthDefaultPolicy = NDKRelayAuthPolicies.signIn({ ndk, signer })
  await ndk.connect(5000)
  await until(() => ndk.pool.connectedRelays().length > 0, 'a connection')

  const tower = new NDKUser({ pubkey: env.tower })
  tower.ndk = ndk
  const ask = async (text) => {
    const rumor = new NDKEvent(ndk, { kind: 14, created_at: now(), pubkey: me.pk, content: text, tags: [['p', env.tower]] })
    const wrapped = await giftWrap(rumor, tower, signer)
    await wrapped.publish()
  }
  await ask('What is 9*9?')

  const got = []
  const sub = ndk.subscribe({ kinds: [1059], '#p': [me.pk] }, { closeOnEose: false })
  sub.on('event', async (evt) => {
    const rumor = await giftUnwrap(evt, undefined, signer)
    if (!got.some((r) => r.id === rumor.id)) got.push(rumor)
  })
  const bill = await until(() => got.find((r) => bolt11In(r.content)), 'an invoice')
  assert.equal(bill.pubkey, env.tower)

  await restart() // NDK finds its way back by itself
  await pay(bolt11In(bill.content))
  await until(() => got.find((r) => /\b81\b/.test(r.content)), 'the answer')

  const profile = await ndk.fetchEvent({ kinds: [0], authors: [env.tower] })
  assert.ok(profile, 'the profile of the tower')
  const inboxes = await ndk.fetchEvent({ kinds: [10050], authors: [env.tower] })
  assert.ok(inboxes.tags.some((t) => t[0] === 'relay'), 'the tower says where it reads')
})
