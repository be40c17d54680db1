// Who may read what: wraps and NIP-04 messages leave only to those they concern,
// stored or live, however the filter is worded; and the relay keeps its word on
// NIP-01, 09, 40, 42 and 70.
import assert from 'node:assert/strict'
import { finalizeEvent } from 'nostr-tools/pure'
import { Relay } from 'nostr-tools/relay'
import { connect, env, inbox17, now, person, restart, run, say04, say17, until } from './common.mjs'

function collect(relay, filters) {
  const got = { events: [], closed: null, eose: false }
  relay.subscribe(filters, {
    onevent: (e) => got.events.push(e),
    oneose: () => (got.eose = true),
    onclose: (why) => (got.closed = why),
  })
  return got
}

run(async () => {
  const alice = person()
  const eve = person()
  let hers = await connect(alice)
  let nobody = await Relay.connect(env.relay)
  let evil = await connect(eve)
  const inbox = inbox17(hers, alice)

  const spies = []
  for (const relay of [nobody, evil]) {
    for (const filter of [
      { kinds: [1059, 4] }, { kinds: [1059], limit: 0 }, { '#p': [alice.pk] }, { '#p': [env.tower] },
      { '#p': [env.tower], limit: 0 }, { authors: [alice.pk] }, { authors: [env.tower], limit: 0 }, { kinds: [1, 4, 1059] }, {},
    ]) spies.push(collect(relay, [filter]))
  }
  const { wrap } = await say17(hers, alice, '/help')
  const dm = await say04(hers, alice, '/help')
  await until(() => inbox.length > 0, 'an answer')
  spies.push(collect(nobody, [{ ids: [wrap.id, dm.id] }]), collect(evil, [{ ids: [wrap.id, dm.id] }]))
  await until(() => spies.every((s) => s.eose || s.closed), 'every spy to be answered')
  await new Promise((r) => setTimeout(r, 500))
  for (const s of spies) {
    const leaked = s.events.filter((e) => [4, 13, 14, 1059, 21059].includes(e.kind))
    assert.deepEqual(leaked, [], 'nobody reads mail of others')
  }
  assert.ok(spies.some((s) => /auth-required/.test(s.closed ?? '')), 'a stranger is told to AUTH')

  const make = (kind, tags, content = 'x', created_at = now()) => finalizeEvent({ kind, tags, content, created_at }, alice.sk)
  const refused = async (relay, evt, why) => {
    await assert.rejects(relay.publish(evt), why)
  }
  await refused(hers, make(1, [['expiration', String(now() - 10)]]), /expired/)
  await refused(nobody, make(1, [['-']]), /auth-required/)
  await refused(evil, make(1, [['-']]), /restricted/)
  await hers.publish(make(1, [['-']], 'mine'))
  await refused(hers, make(22242, [['relay', env.relay], ['challenge', 'x']]), /invalid/)
  await refused(nobody, { ...make(1, []), id: '0'.repeat(64) }, /invalid/)

  const note = make(1, [], 'to be deleted')
  await hers.publish(note)

  await restart()
  hers = await connect(alice)
  nobody = await Relay.connect(env.relay)
  evil = await connect(eve)
  const after = [collect(nobody, [{ ids: [wrap.id, dm.id] }]), collect(evil, [{ '#p': [alice.pk] }]), collect(hers, [{ kinds: [1059], '#p': [alice.pk] }])]
  await until(() => after.every((s) => s.eose || s.closed), 'every reader to be answered')
  assert.deepEqual([...after[0].events, ...after[1].events].filter((e) => e.kind !== 1), [], 'nor after a restart')
  assert.ok(after[2].events.length > 0, 'and she reads her own')
  await evil.publish(finalizeEvent({ kind: 5, tags: [['e', note.id]], content: '', created_at: now() }, eve.sk)).catch(() => {})
  const still = collect(nobody, [{ ids: [note.id] }])
  await until(() => still.eose, 'EOSE')
  assert.equal(still.events.length, 1, 'a stranger deletes nothing')
  await hers.publish(make(5, [['e', note.id]], ''))
  const gone = collect(nobody, [{ ids: [note.id] }])
  await until(() => gone.eose, 'EOSE')
  assert.equal(gone.events.length, 0, 'the author deletes')
  await refused(hers, note, /deleted|blocked/)

  const doc = await fetch(env.http, { headers: { accept: 'application/nostr+json' } })
  assert.equal(doc.headers.get('access-control-allow-origin'), '*')
  const info = await doc.json()
  for (const nip of [1, 9, 11, 40, 42, 70]) assert.ok(info.supported_nips.includes(nip), `NIP-${nip}`)
  assert.equal(info.self ?? env.tower, env.tower)
})
