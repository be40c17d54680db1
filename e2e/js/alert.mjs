// The operator, with an ordinary client, hears of a payment that nobody can be
// credited for; also across a kill, and once.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { api, connect, env, inbox17, person, restart, run, until } from './common.mjs'

run(async () => {
  const operator = person(env.secret)
  const session = await api('POST', '/sessions', { amount_sats: 100 })
  await promisify(execFile)(env.timmy, ['pay', session.json.invoice.paymentRequest, '--sats', '1000', '--data-dir', env.data], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
  })
  await restart()
  let relay = await connect(operator)
  let inbox = inbox17(relay, operator)
  const alert = await until(() => inbox.find((m) => /could not be credited/.test(m.content)), 'the alert', 90_000)
  assert.match(alert.content, /^⚠ Timmy: A payment of 1000 sats could not be credited: more than twice the invoice's amount\./)
  assert.ok(alert.content.includes(session.json.invoice.paymentHash), 'the alert names the payment')
  await restart()
  relay = await connect(operator)
  inbox = inbox17(relay, operator)
  await until(() => inbox.some((m) => m.id === alert.id), 'the alert, still there')
})
