// A zap, made the way clients make it, grows the zapper's balance exactly once
// and is receipted; forged receipts and bad zap requests move nothing.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { finalizeEvent } from 'nostr-tools/pure'
import * as nip04 from 'nostr-tools/nip04'
import * as nip57 from 'nostr-tools/nip57'
import { bech32 } from '@scure/base'
import { decode } from 'light-bolt11-decoder'
import { connect, env, inbox17, now, pay, person, restart, run, say17, until } from './common.mjs'

const section = (bolt11, name) => decode(bolt11).sections.find((s) => s.name === name)?.value

async function balance(relay, me, inbox) {
  const asked = await say17(relay, me, '/balance')
  const m = await until(() => inbox.find((r) => r.tags.some((t) => t[0] === 'e' && t[1] === asked.id)), 'the balance')
  return Number(/^Balance: (\d+) sats?/m.exec(m.content)[1])
}

run(async () => {
  const me = person()
  let relay = await connect(me)
  let inbox = inbox17(relay, me)
  assert.equal(await balance(relay, me, inbox), 0)

  const profile = await until(async () => {
    let found
    await new Promise((resolve) => {
      const sub = relay.subscribe([{ kinds: [0], authors: [env.tower] }], {
        onevent: (e) => (found = e),
        oneose: () => (sub.close(), resolve()),
      })
    })
    return found
  }, 'the profile of the tower')
  assert.equal(JSON.parse(profile.content).bot, true)

  const name = JSON.parse(profile.content).lud16.split('@')[0]
  const wellKnown = await fetch(`${env.http}/.well-known/lnurlp/${name}`)
  assert.equal(wellKnown.headers.get('access-control-allow-origin'), '*')
  const lnurlp = await wellKnown.json()
  assert.equal(lnurlp.allowsNostr, true)
  assert.match(lnurlp.nostrPubkey, /^[0-9a-f]{64}$/)

  const request = finalizeEvent(
    nip57.makeZapRequest({ pubkey: env.tower, amount: 250_000, comment: 'thanks', relays: [env.relay] }),
    me.sk,
  )
  const raw = JSON.stringify(request)
  const call = (amount, nostr) =>
    fetch(`${lnurlp.callback}?amount=${amount}&nostr=${encodeURIComponent(nostr)}`).then((r) => r.json())

  const { pr } = await call(250_000, raw)
  assert.equal(section(pr, 'amount'), '250000')
  assert.equal(section(pr, 'description_hash'), createHash('sha256').update(raw).digest('hex'))
  assert.equal((await call(250_000, raw)).pr, pr, 'the same zap request has one open invoice')

  assert.equal((await call(251_000, raw)).status, 'ERROR', 'amount and tag differ')
  const stranger = person()
  const foreign = finalizeEvent(
    nip57.makeZapRequest({ pubkey: stranger.pk, amount: 250_000, comment: '', relays: [env.relay] }),
    me.sk,
  )
  assert.equal((await call(250_000, JSON.stringify(foreign))).status, 'ERROR', 'a zap of somebody else')

  const forged = finalizeEvent(
    {
      kind: 9735,
      created_at: now(),
      content: '',
      tags: [['p', env.tower], ['P', me.pk], ['bolt11', pr], ['description', raw]],
    },
    stranger.sk,
  )
  await relay.publish(forged).catch(() => {})
  assert.equal(await balance(relay, me, inbox), 0, 'a forged receipt credits nobody')

  await restart()
  relay = await connect(me)
  inbox = inbox17(relay, me)
  await pay(pr)
  const receipts = []
  relay.subscribe([{ kinds: [9735], '#p': [env.tower], authors: [lnurlp.nostrPubkey] }], { onevent: (e) => receipts.push(e) })
  const receipt = await until(() => receipts.find((e) => e.tags.some((t) => t[0] === 'bolt11' && t[1] === pr)), 'the receipt')
  assert.equal(receipt.tags.find((t) => t[0] === 'description')[1], raw)
  assert.equal(receipt.tags.find((t) => t[0] === 'P')[1], me.pk)
  await pay(pr).catch(() => {})
  await until(async () => (await balance(relay, me, inbox)) === 250, 'a balance of 250 sats')
  assert.equal((await call(250_000, raw)).status, 'ERROR', 'a paid zap request is not paid twice')

  // A private zap credits who is inside, an anonymous one whom its claim code names.
  const once = person()
  const inside = finalizeEvent({ kind: 9733, created_at: now(), content: 'hush', tags: [['p', env.tower]] }, me.sk)
  const [body, iv] = nip04.encrypt(once.sk, env.tower, JSON.stringify(inside)).split('?iv=')
  const text = (prefix, base64) => bech32.encode(prefix, bech32.toWords(Buffer.from(base64, 'base64')), false)
  const zapped = async (anon, comment) => {
    const template = nip57.makeZapRequest({ pubkey: env.tower, amount: 100_000, comment, relays: [env.relay] })
    template.tags.push(['anon', anon])
    const answer = await call(100_000, JSON.stringify(finalizeEvent(template, once.sk)))
    assert.ok(answer.pr, answer.reason)
    await pay(answer.pr)
  }
  await zapped(`${text('pzap', body)}_${text('iv', iv)}`, '')
  const asked = await say17(relay, me, '/claim')
  const told = await until(() => inbox.find((r) => r.tags.some((t) => t[0] === 'e' && t[1] === asked.id)), 'the claim code')
  await zapped('', /^CLAIM-.*$/m.exec(told.content)[0])
  await until(() => inbox.filter((r) => r.content.startsWith('✓')).length === 3, 'a notice of each zap')
  assert.equal(await balance(relay, me, inbox), 450)

  const verify = await fetch(`${env.http}/lnurlp/verify/${section(pr, 'payment_hash')}`).then((r) => r.json())
  assert.equal(verify.settled, true)
})
