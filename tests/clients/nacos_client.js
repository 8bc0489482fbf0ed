// Registers with a Nacos server by the npm package nacos, and checks what that server answers.
//
// NODE_PATH=.../node_modules node nacos_client.js ADDRESS
'use strict';

const assert = require('node:assert');
const { NacosNamingClient } = require('nacos');

const PULSE = {
  'preserved.heart.beat.interval': '1000',
  'preserved.heart.beat.timeout': '4000',
  'preserved.ip.delete.timeout': '6000',
};
const HELLO = { ip: '127.0.0.1', port: 7001 };
const quiet = { ...console, info() {}, debug() {} };

const sleep = millis => new Promise(resolve => setTimeout(resolve, millis));

async function eventually(what, check, millis = 20_000) {
  const deadline = Date.now() + millis;
  while (!(await check())) {
    assert(Date.now() < deadline, `not in time: ${what}`);
    await sleep(50);
  }
}

async function main(address) {
  const open = async () => {
    const client = new NacosNamingClient({ logger: quiet, serverList: address, namespace: 'public' });
    await client.ready();
    return client;
  };
  const client = await open();
  assert.equal(await client.getServerStatus(), 'UP');

  // Its first beat goes out only after 10 s; the answer tells it to beat every second from then on.
  await client.registerInstance('warm', { ...HELLO, metadata: PULSE });
  await eventually('beating', () => client._beatReactor._clientBeatInterval === 1000);

  // Registers, and is seen by a subscriber.
  const reader = await open();
  let pushed = [];
  await client.registerInstance('hello', { ...HELLO, weight: 2.5, metadata: { zone: 'a', ...PULSE } });
  reader.subscribe('hello', hosts => { pushed = hosts; });
  await eventually('seen by a subscriber', () => pushed.length === 1);
  // Past its cache, a reader asks the server.
  const hosts = () => reader._hostReactor.serverProxy
    .queryList('DEFAULT_GROUP@@hello', '', 0, false)
    .then(text => JSON.parse(text).hosts);
  const [host] = await hosts();
  assert.deepEqual([host.ip, host.port, host.weight, host.metadata.zone], ['127.0.0.1', 7001, 2.5, 'a']);
  assert.equal((await client.selectInstances('hello')).length, 1);
  const services = await client._serverProxy.getServiceList(1, 10, 'DEFAULT_GROUP');
  assert.deepEqual(services, { count: 2, data: ['hello', 'warm'] });

  // Its beats hold it for longer than it would live without them.
  const end = Date.now() + 7000;
  while (Date.now() < end) {
    assert.equal((await hosts()).filter(h => h.healthy).length, 1);
    await sleep(100);
  }

  // Falls silent, is removed, and comes back with the next beat.
  const beats = client._beatReactor._dom2Beat;
  const [key, beat] = [...beats].find(([name]) => name.includes('hello'));
  beats.delete(key);
  await eventually('removed', async () => (await hosts()).length === 0);
  beats.set(key, beat);
  await eventually('registered again by a beat', async () => (await hosts()).length === 1);

  // Deregisters.
  await client.deregisterInstance('hello', HELLO);
  assert.equal((await hosts()).length, 0);

  // Groups are apart.
  await client.registerInstance('hello', { ...HELLO, ephemeral: false }, 'blue');
  assert.equal((await hosts()).length, 0);
  assert.equal((await client.getAllInstances('hello', 'blue', '', false)).length, 1);
  await client.deregisterInstance('hello', HELLO, 'blue');
}

main(process.argv[2]).then(() => process.exit(0), error => {
  console.error(error);
  process.exit(1);
});
