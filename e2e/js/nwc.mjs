// Alby's wallet service is the tower's wallet, over the relay of another tower: its own
// client speaks to it there, and then the tower does, whose invoices it makes and looks up.
import assert from 'node:assert/strict'
import { finalizeEvent } from 'nostr-tools/pure'
import { api, pay, restart, run, until } from './common.mjs'
import { NWCClient, NWCWalletService, NWCWalletServiceKeyPair } from '@getalby/sdk/nwc'

const bank = { url: process.env.LNBITS_URL, key: process.env.LNBITS_KEY }
const methods = ['get_info', 'make_invoice', 'lookup_invoice', 'list_transactions']

const ask = (path, init) =>
  fetch(bank.url + path, { ...init, headers: { 'x-api-key': bank.key, 'content-type': 'application/json' } }).then((r) => r.json())

const made = new Map() // by payment hash

const transaction = async (hash) => {
  const inv = made.get(hash)
  if (!inv) return { result: undefined, error: { code: 'NOT_FOUND', message: 'no such invoice' } }
  const view = await ask(`/api/v1/payments/${hash}`)
  const settled = view.paid ? { state: 'settled', preimage: view.preimage, settled_at: Math.floor(Date.now() / 1000) } : { state: 'pending' }
  return { result: { ...inv, ...settled }, error: undefined }
}

const handler = {
  async getInfo() {
    return { result: { alias: 'test', color: '', pubkey: '', network: 'regtest', block_height: 1, block_hash: '', methods, notifications: [] } }
  },
  async makeInvoice({ amount, description, description_hash, expiry = 3600 }) {
    const body = JSON.stringify({ amount: amount / 1000, memo: description ?? '', description_hash, expiry })
    const inv = await ask('/api/v1/payments', { method: 'POST', body })
    const at = Math.floor(Date.now() / 1000)
    made.set(inv.payment_hash, {
      type: 'incoming', state: 'pending', invoice: inv.bolt11, description: description ?? '', description_hash: description_hash ?? '',
      preimage: '', payment_hash: inv.payment_hash, amount, fees_paid: 0, created_at: at, expires_at: at + expiry,
    })
    return { result: made.get(inv.payment_hash), error: undefined }
  },
  lookupInvoice: ({ payment_hash }) => transaction(payment_hash),
  async listTransactions() {
    const all = await Promise.all([...made.keys()].map(transaction))
    const transactions = all.map((t) => t.result).filter((t) => t.state === 'settled')
    return { result: { transactions, total_count: transactions.length }, error: undefined }
  },
}

// authenticated has a pool prove its key wherever it connects: our relay shows messages of
// wallets to those whom they concern alone, and Alby's library does not say who it is.
function authenticated(pool, secret) {
  const sk = Uint8Array.from(Buffer.from(secret, 'hex'))
  const ensure = pool.ensureRelay.bind(pool)
  pool.ensureRelay = async (url, params) => {
    const relay = await ensure(url, params)
    if (!relay.proven) {
      await until(() => relay.challenge, 'an AUTH challenge')
      relay.proven = relay.auth((evt) => Promise.resolve(finalizeEvent(evt, sk)))
    }
    await relay.proven
    return relay
  }
}

run(async () => {
  const client = new NWCClient({ nostrWalletConnectUrl: process.env.NWC })
  const service = new NWCWalletService({ relayUrls: client.relayUrls })
  authenticated(client.pool, client.secret)
  authenticated(service.pool, process.env.WALLET_SECRET)
  await service.publishWalletServiceInfoEvent(process.env.WALLET_SECRET, methods, [])
  await service.subscribe(new NWCWalletServiceKeyPair(process.env.WALLET_SECRET, client.publicKey), handler)

  // Alby's client and service, through our relay.
  assert.deepEqual((await client.getInfo()).methods, methods)
  const own = await client.makeInvoice({ amount: 21_000, description: 'over our relay' })
  assert.equal(own.amount, 21_000)
  await pay(own.invoice)
  await until(async () => (await client.lookupInvoice({ payment_hash: own.payment_hash })).state === 'settled', 'a paid invoice')

  // The tower and the service.
  const open = (sats) => until(async () => {
    const res = await api('POST', '/sessions', { amount_sats: sats })
    return res.status === 201 && res.json
  }, 'an invoice')
  const active = (id, sats) => until(async () => {
    const view = await api('GET', `/sessions/${id}`)
    return view.json?.state === 'active' && view.json.balanceSats === sats && view.json
  }, `${sats} sats in the session`)
  const first = await open(500)
  assert.ok(made.has(first.invoice.paymentHash), 'the service made the invoice')
  await pay(first.invoice.paymentRequest)
  const session = await active(first.sessionId, 500)
  const answer = await api('POST', `/sessions/${first.sessionId}/request`, { request: 'What is 6*7?' }, { authorization: `Bearer ${session.macaroon}` })
  assert.match(answer.json.result, /42/)

  const second = await open(300)
  await pay(second.invoice.paymentRequest)
  await restart()
  await active(second.sessionId, 300)
})
