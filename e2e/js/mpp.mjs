// The HTTP scheme "Payment" (MPP): a charge paid by lightning-tools as an agent does it,
// and a session by the words of its draft, for which there is no client yet: opened,
// used, topped up and closed, with the tower killed in between.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { fetch402, fetchWithMpp } from '@getalby/lightning-tools/402'
import { Invoice } from '@getalby/lightning-tools/bolt11'
import { env, preimageOf, restart, run, until } from './common.mjs'

const url = `${env.http}/ask`
let payments = 0

const paid = (invoice) => (payments++, preimageOf(invoice))
const wallet = { payInvoice: async ({ invoice }) => ({ preimage: await paid(invoice) }) }

const ask = (text, headers) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify({ request: text, amount_sats: 300 }),
})

const decode = (text) => JSON.parse(Buffer.from(text, 'base64url').toString())

// sessionIn reads the challenge for a session out of a 402.
function sessionIn(res) {
  assert.equal(res.status, 402)
  assert.equal(res.headers.get('cache-control'), 'no-store')
  const m = res.headers
    .get('www-authenticate')
    .match(/Payment id="([^"]+)", realm="([^"]+)", method="lightning", intent="session", request="([^"]+)", expires="([^"]+)"/)
  const [, id, realm, request, expires] = m
  return { challenge: { id, realm, method: 'lightning', intent: 'session', request, expires }, ...decode(request) }
}

const credential = (challenge, payload) => ({
  authorization: `Payment ${Buffer.from(JSON.stringify({ challenge, payload })).toString('base64url')}`,
})

run(async () => {
  // It reads one challenge, so it says which.
  const charged = await fetchWithMpp(url, ask('What is 6*7?', { 'accept-payment': 'lightning/charge' }), { wallet })
  assert.equal(charged.status, 200)
  assert.match((await charged.json()).result, /42/)
  assert.equal(charged.payment.amountSat, 300)
  const { header, value } = charged.payment.credentials
  const receipt = decode(charged.headers.get('payment-receipt'))
  assert.equal(receipt.status, 'success')
  assert.equal(receipt.challengeId, decode(value.split(' ')[1]).challenge.id)
  await restart()
  const again = await fetch(url, ask('What is 6*7?', { [header]: value }))
  assert.equal(again.headers.get('idempotency-replayed'), 'true', 'the same answer after a crash')
  const twice = await fetch(url, ask('What is 7*7?', { [header]: value }))
  assert.equal(twice.status, 402)
  assert.match((await twice.json()).type, /unknown-challenge$/, 'a charge is good for one request')

  const any = await fetch402(url, ask('What is 8*8?'), { wallet })
  assert.match((await any.json()).result, /64/, 'who takes any scheme finds one')

  const opening = sessionIn(await fetch(url, ask('hi')))
  assert.equal(new Invoice({ pr: opening.depositInvoice }).satoshi, Number(opening.depositAmount))
  const preimage = await paid(opening.depositInvoice)
  const sessionId = opening.paymentHash
  assert.equal(createHash('sha256').update(Buffer.from(preimage, 'hex')).digest('hex'), sessionId)
  const bare = credential(opening.challenge, { action: 'open', preimage })
  assert.match((await (await fetch(url, ask('hi', bare))).json()).type, /malformed-credential$/)
  const open = credential(opening.challenge, { action: 'open', preimage, returnInvoice: process.env.RETURN })
  const opened = await fetch(url, ask('What is 9*9?', open))
  const first = await opened.json()
  assert.match(first.result, /81/, JSON.stringify(first))
  assert.equal(decode(opened.headers.get('payment-receipt')).reference, sessionId)
  await restart()
  const same = await (await fetch(url, ask('What is 9*9?', open))).json()
  assert.deepEqual(same, first, 'opened once')

  const bearer = credential(opening.challenge, { action: 'bearer', sessionId, preimage })
  const second = await (await fetch(url, ask('What is 5*5?', bearer))).json()
  assert.equal(second.balanceRemaining, first.balanceRemaining - second.debitedSats)
  const kept = await fetch(`${url}/${second.requestId}`, { headers: bearer })
  assert.deepEqual(await kept.json(), second)

  const more = sessionIn(await fetch(url, ask('hi')))
  const topUpPreimage = await paid(more.depositInvoice)
  const topUp = { method: 'POST', headers: credential(more.challenge, { action: 'topUp', sessionId, topUpPreimage }) }
  for (let i = 0; i < 2; i++) assert.deepEqual(await (await fetch(url, topUp)).json(), { status: 'ok' })
  const third = await (await fetch(url, ask('What is 3*5?', bearer))).json()
  assert.equal(third.balanceRemaining, second.balanceRemaining + 300 - third.debitedSats, 'topped up once')

  const close = { method: 'POST', headers: credential(opening.challenge, { action: 'close', sessionId, preimage }) }
  const closed = await until(async () => {
    const res = await fetch(url, close)
    return res.status === 200 && res
  }, 'the end of the refund')
  const end = await closed.json()
  assert.equal(end.refundStatus, 'succeeded', JSON.stringify(end))
  const fee = Math.max(10, Math.ceil(third.balanceRemaining / 100))
  assert.equal(end.refundSats, third.balanceRemaining - fee, 'all but what routing may cost')
  assert.equal(decode(closed.headers.get('payment-receipt')).refundSats, end.refundSats)
  assert.deepEqual(await (await fetch(url, close)).json(), end, 'closed once')
  const over = await fetch(url, ask('hi', bearer))
  assert.equal(over.status, 402)
  assert.match((await over.json()).type, /session-closed$/)
  assert.equal(payments, 4)
})
