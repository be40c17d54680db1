// fetch402 as an agent uses it: it meets our 402, pays with its wallet, and asks
// again with what the payment taught it. The token is the key to what is left, also
// after the tower was killed.
import assert from 'node:assert/strict'
import { fetch402 } from '@getalby/lightning-tools/402'
import { fetchWithL402, parseL402 } from '@getalby/lightning-tools/402/l402'
import { Invoice } from '@getalby/lightning-tools/bolt11'
import { api, env, preimageOf, restart, run } from './common.mjs'

const wallet = {
  payments: 0,
  async payInvoice({ invoice }) {
    this.payments++
    return { preimage: await preimageOf(invoice) }
  },
}

const ask = (text, extra) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ request: text, ...extra }),
})

run(async () => {
  const url = `${env.http}/ask`
  const bare = await api('POST', '/ask', { request: 'What is 6*7?', amount_sats: 300 })
  assert.equal(bare.status, 402)
  const said = parseL402(bare.headers.get('www-authenticate'))
  assert.equal(said.version, '0')
  assert.equal(said.token, bare.json.macaroon)
  assert.equal(new Invoice({ pr: said.invoice }).satoshi, 300)

  const first = await fetch402(url, ask('What is 6*7?', { amount_sats: 300 }), { wallet })
  assert.equal(first.status, 200)
  const answer = await first.json()
  assert.match(answer.result, /42/)
  assert.equal(first.payment.paid, true)
  assert.equal(first.payment.amountSat, 300)
  assert.equal(answer.balanceRemaining, 300 - answer.debitedSats)

  await restart()
  const credentials = first.payment.credentials
  const second = await fetchWithL402(url, ask('What is 7*7?'), { wallet, credentials })
  assert.equal(second.status, 200)
  const again = await second.json()
  assert.match(again.result, /49/)
  assert.equal(again.balanceRemaining, answer.balanceRemaining - again.debitedSats)
  assert.equal(wallet.payments, 1, 'what is left pays for the next request')

  const kept = await api('GET', `/ask/${again.requestId}`, undefined, { [credentials.header]: credentials.value })
  assert.equal(kept.json.result, again.result)
  const forged = await api('POST', '/ask', { request: 'hi' }, { authorization: `L402 ${said.token}:${first.payment.preimage}` })
  assert.equal(forged.status, 401, 'the preimage of another payment')
})
