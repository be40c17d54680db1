// What every scenario needs: a relay connection that AUTHs, messages in and out,
// and a way to pay. Nothing here is ours but the glue: the protocol is the
// library's, so that the tower is judged by code it did not bring along.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { decode } from 'light-bolt11-decoder'
import WebSocket from 'ws'
import { finalizeEvent, generateSecretKey, getPublicKey } from 'nostr-tools/pure'
import { Relay, useWebSocketImplementation } from 'nostr-tools/relay'
import * as nip17 from 'nostr-tools/nip17'
import * as nip59 from 'nostr-tools/nip59'
import * as nip04 from 'nostr-tools/nip04'

useWebSocketImplementation(WebSocket)
globalThis.WebSocket ??= WebSocket

export const env = {
  relay: process.env.RELAY,
  http: process.env.HTTP,
  tower: process.env.TOWER,
  timmy: process.env.TIMMY,
  data: process.env.DATA,
  secret: process.env.SECRET,
  upstream: process.env.UPSTREAM,
}

export const person = (hex) => {
  const sk = hex ? Uint8Array.from(Buffer.from(hex, 'hex')) : generateSecretKey()
  return { sk, pk: getPublicKey(sk) }
}

export async function connect(who) {
  const relay = await Relay.connect(env.relay)
  if (who) {
    await until(() => relay.challenge, 'an AUTH challenge')
    await relay.auth((evt) => Promise.resolve(finalizeEvent(evt, who.sk)))
  }
  return relay
}

export async function until(check, what, ms = 90_000) {
  const end = Date.now() + ms
  for (;;) {
    const v = await check()
    if (v) return v
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}`)
    await new Promise((r) => setTimeout(r, 50))
  }
}

// inbox17 collects what is wrapped to who, opened and checked by the library.
export function inbox17(relay, who) {
  const got = []
  const seen = new Set()
  relay.subscribe([{ kinds: [1059], '#p': [who.pk] }], {
    onevent(evt) {
      const rumor = nip17.unwrapEvent(evt, who.sk)
      if (seen.has(rumor.id) || rumor.pubkey !== env.tower) return
      seen.add(rumor.id)
      got.push(rumor)
    },
  })
  return got
}

const said = new Set()

// say17 sends a message that was not sent before: the same text in the same second
// is the same message, and is answered once.
export async function say17(relay, who, text) {
  const write = () => nip59.createRumor({ kind: 14, created_at: now(), tags: [['p', env.tower]], content: text }, who.sk)
  const rumor = await until(() => [write()].find((r) => !said.has(r.id)), 'the next second')
  said.add(rumor.id)
  const wrap = nip59.createWrap(nip59.createSeal(rumor, who.sk, env.tower), env.tower)
  await relay.publish(wrap)
  return { wrap, id: rumor.id }
}

export function inbox04(relay, who) {
  const got = []
  relay.subscribe([{ kinds: [4], '#p': [who.pk], authors: [env.tower] }], {
    onevent(evt) {
      got.push({ ...evt, text: nip04.decrypt(who.sk, env.tower, evt.content) })
    },
  })
  return got
}

export async function say04(relay, who, text) {
  const evt = finalizeEvent(
    { kind: 4, created_at: now(), tags: [['p', env.tower]], content: nip04.encrypt(who.sk, env.tower, text) },
    who.sk,
  )
  await relay.publish(evt)
  return evt
}

export const now = () => Math.floor(Date.now() / 1000)

// bolt11In finds the invoice that stands alone on a line, as wallets and clients
// look for it.
export const bolt11In = (text) => text.split('\n').find((l) => /^ln(bc|tb|bcrt|sb)[0-9a-z]+$/.test(l))

// read is what other people's code makes of an invoice of ours: whole, and payable.
export function read(bolt11) {
  const sections = decode(bolt11).sections
  for (const name of ['payment_hash', 'payment_secret', 'amount', 'signature', 'feature_bits'])
    assert.ok(sections.some((s) => s.name === name), `${name} of ${bolt11}`)
  assert.ok(sections.some((s) => s.name === 'description' || s.name === 'description_hash'), `description of ${bolt11}`)
  return sections
}

// pay is done by another node where there is one, else by the tower's own test wallet.
export async function pay(bolt11) {
  read(bolt11)
  if (process.env.PAYER) {
    const res = await fetch(process.env.PAYER, { method: 'POST', body: bolt11 })
    if (!res.ok) throw new Error(`not paid: ${await res.text()}`)
    return
  }
  await promisify(execFile)(env.timmy, ['pay', bolt11, '--data-dir', env.data], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
  })
}

// preimageOf pays, and finds the preimage at LUD-21, as a payer's wallet would have it.
export async function preimageOf(bolt11) {
  await pay(bolt11)
  const hash = read(bolt11).find((s) => s.name === 'payment_hash').value
  const paid = await until(async () => {
    const v = await fetch(`${env.http}/lnurlp/verify/${hash}`).then((r) => r.json())
    return v.settled && v
  }, 'the preimage')
  return paid.preimage
}

export async function api(method, path, body, headers = {}) {
  const res = await fetch(env.http + path, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await res.text()
  let json
  try {
    json = JSON.parse(text)
  } catch {
    /* not every answer is JSON */
  }
  return { status: res.status, headers: res.headers, json, text }
}

// restart asks whoever started this scenario to kill the tower (-9) and start it
// again, and waits until that is done. Connections are gone afterwards.
export async function restart() {
  console.log('RESTART')
  await new Promise((resolve) => process.stdin.once('data', resolve))
}

export async function run(scenario) {
  try {
    await scenario()
    console.log('ok')
    process.exit(0)
  } catch (err) {
    console.error(err)
    process.exit(1)
  }
}
