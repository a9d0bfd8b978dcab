package interop_test

import (
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// The paths of the server, which the clients below use, are those of startSockets.

// pythonScript is a client on python3-websockets. It echoes messages of each kind, one at a time and many at once, and looks at the handshake and the close.
const pythonScript = `
import asyncio, sys, websockets
from websockets.exceptions import ConnectionClosed, InvalidStatusCode
base = 'ws://' + sys.argv[1]
messages = ['', 'x', 'Grüße \N{SNOWMAN} \U0001f600', 'a' * 125, 'b' * 126, 'c' * 65535, 'd' * 65536, 'e' * 1000000, b'', bytes(range(256)), b'f' * 65536]
def connect(path, **kw):
    return websockets.connect(base + path, max_size=None, open_timeout=20, close_timeout=20, ping_interval=None, **kw)
async def fragments(all):
    for s in all: yield s
async def echo(path, compression):
    async with connect(path, compression=compression) as ws:
        assert [e.name for e in ws.extensions] == (['permessage-deflate'] if compression else []), ws.extensions
        for m in messages:
            await ws.send(m)
            got = await asyncio.wait_for(ws.recv(), 20)
            assert got == m and type(got) == type(m), (len(got), len(m))
        for i in range(1000): await ws.send('message %d' % i)
        for i in range(1000): assert await asyncio.wait_for(ws.recv(), 20) == 'message %d' % i
        await ws.send(fragments(['Grü', 'ße ', '\N{SNOWMAN}', '']))
        assert await asyncio.wait_for(ws.recv(), 20) == 'Grüße \N{SNOWMAN}'
        await ws.send(fragments([b'g' * 1000] * 100))
        assert await asyncio.wait_for(ws.recv(), 20) == b'g' * 100000
        await asyncio.wait_for(await ws.ping(b'payload'), 20)
    assert ws.close_code == 1000, ws.close_code
async def closes():
    async with connect('/echo') as ws: # the client closes
        await ws.close(4321, 'goodbye')
        assert ws.close_code == 4321, ws.close_code
    async with connect('/closes') as ws: # the server closes
        await ws.send('4000 see you')
        try: await asyncio.wait_for(ws.recv(), 20)
        except ConnectionClosed as e: assert (e.rcvd.code, e.rcvd.reason) == (4000, 'see you'), e
        else: raise AssertionError('a message')
    async with connect('/small') as ws: # a message that is too long
        await ws.send('x' * 1000)
        assert await asyncio.wait_for(ws.recv(), 20) == 'x' * 1000
        await ws.send('x' * 1001)
        try: await asyncio.wait_for(ws.recv(), 20)
        except ConnectionClosed as e: assert e.rcvd.code == 1009, e
        else: raise AssertionError('a message')
async def refused(status, path, **kw):
    try: await connect(path, **kw)
    except InvalidStatusCode as e: assert e.status_code == status, e
    else: raise AssertionError('it is open')
async def main():
    await echo('/echo', None)
    await echo('/deflate', 'deflate')
    await asyncio.gather(*[echo('/deflate', 'deflate') for _ in range(5)])
    await closes()
    async with connect('/echo', subprotocols=['other', 'chat.v2']) as ws: assert ws.subprotocol == 'chat.v2', ws.subprotocol
    async with connect('/echo', subprotocols=['other']) as ws: assert ws.subprotocol is None, ws.subprotocol
    async with connect('/echo', origin=base.replace('ws:', 'http:')) as ws: pass
    await refused(403, '/echo', origin='http://elsewhere.example')
    await refused(404, '/missing')
    print('done')
asyncio.run(main())
`

func TestPythonsWebSockets(t *testing.T) {
	runClient(t, pythonScript, "/usr/bin/python3", "-")
}

// nodeScript is a client on ws, the library of Node.js, as Debian's package node-ws or npm has it.
const nodeScript = `
const assert = require('assert'), { WebSocket } = require('ws');
const base = 'ws://' + process.argv[2];
const patience = setTimeout(() => { console.error('no answer'); process.exit(1); }, 50000);
const connect = (path, options = {}, protocols = []) => new Promise((resolve, reject) => {
  const ws = new WebSocket(base + path, protocols, { perMessageDeflate: false, maxPayload: 0, ...options });
  ws.queue = []; ws.waiting = [];
  const next = e => ws.waiting.length ? ws.waiting.shift()(e) : ws.queue.push(e);
  ws.on('message', (data, binary) => next({ data: binary ? data : data.toString(), binary }));
  ws.on('pong', data => next({ pong: data.toString() }));
  ws.on('close', (code, reason) => next({ code, reason: reason.toString() }));
  ws.next = () => new Promise(r => ws.queue.length ? r(ws.queue.shift()) : ws.waiting.push(r));
  ws.on('open', () => resolve(ws));
  ws.on('unexpected-response', (req, res) => { req.destroy(); reject(Object.assign(new Error('refused'), { status: res.statusCode })); });
  ws.on('error', reject);
});
const messages = ['', 'x', 'Grüße \u2603 \u{1f600}', 'a'.repeat(125), 'b'.repeat(126), 'c'.repeat(65535), 'd'.repeat(65536), 'e'.repeat(1000000),
  Buffer.alloc(0), Buffer.from([...Array(256).keys()]), Buffer.alloc(65536, 'f')];
async function echo(path, options) {
  const ws = await connect(path, options);
  assert.strictEqual(ws.extensions, options.perMessageDeflate ? 'permessage-deflate' : '');
  for (const m of messages) {
    ws.send(m);
    assert.deepStrictEqual(await ws.next(), { data: m, binary: typeof m !== 'string' });
  }
  for (let i = 0; i < 1000; i++) ws.send('message ' + i);
  for (let i = 0; i < 1000; i++) assert.strictEqual((await ws.next()).data, 'message ' + i);
  for (let i = 0; i < 5; i++) ws.send('\u2603' + i, { fin: i == 4 });
  ws.ping('payload');
  assert.deepStrictEqual(await ws.next(), { data: '\u26030\u26031\u26032\u26033\u26034', binary: false });
  assert.deepStrictEqual(await ws.next(), { pong: 'payload' });
  ws.close(4321, 'goodbye');
  assert.strictEqual((await ws.next()).code, 4321);
}
const refused = (status, path, options) => assert.rejects(connect(path, options), { status });
(async () => {
  await echo('/echo', {});
  const deflate = { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 };
  await echo('/deflate', { perMessageDeflate: true });
  await echo('/deflate', { perMessageDeflate: deflate });
  await Promise.all([...Array(5)].map(() => echo('/deflate', { perMessageDeflate: deflate })));
  let ws = await connect('/closes');
  ws.send('4000 see you');
  assert.deepStrictEqual(await ws.next(), { code: 4000, reason: 'see you' });
  ws = await connect('/small');
  ws.send('x'.repeat(1001));
  assert.strictEqual((await ws.next()).code, 1009);
  ws = await connect('/echo', {}, ['other', 'chat.v2']);
  assert.strictEqual(ws.protocol, 'chat.v2');
  ws.terminate();
  await refused(403, '/echo', { origin: 'http://elsewhere.example' });
  await refused(404, '/missing');
  clearTimeout(patience);
  console.log('done');
})().catch(e => { console.error(e); process.exit(1); });
`

func TestNodesWebSockets(t *testing.T) {
	t.Setenv("NODE_PATH", "/usr/share/nodejs:/usr/local/lib/node_modules:/usr/lib/node_modules")
	runClient(t, nodeScript, "node", "-")
}

// autobahnScript is a client on Autobahn for Python. It runs the cases of the suite that are not in the table of autobahnCases, with less messages of each size:
// 9.7 and 9.8 (round trips), 10.1.1 (a message in fragments), 12 (compression) and 13 (compression with other offers). The data of 12 are not those of the suite: it has
// text and a picture.
const autobahnScript = `
import asyncio, json, os, sys
from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateResponse, PerMessageDeflateResponseAccept
host, port = sys.argv[1].rsplit(':', 1)
records = json.dumps([{'id': i, 'name': 'name %d' % (i * 7919 % 1009), 'tags': ['a', 'b', 'c'][:i % 4], 'price': i * 31 % 997 / 100} for i in range(10000)]).encode()
noise = os.urandom(len(records))
sizes = [(16, 0), (64, 0), (256, 0), (1024, 0), (4096, 0), (8192, 0), (16384, 0), (32768, 0), (65536, 0), (131072, 0),
    (8192, 256), (16384, 256), (32768, 256), (65536, 256), (131072, 256), (131072, 1024), (131072, 4096), (131072, 32768)]
def plain(name, binary, size, fragment=0, count=10):
    return name, '/echo', None, None, (noise if binary else records), binary, size, fragment, count
def deflated(name, data, binary, size, fragment, offers=None, compressed=True):
    return name, '/deflate', offers or [PerMessageDeflateOffer()], compressed, data, binary, size, fragment, 5 if size < 100000 else 2
cases = [plain('10.1.1', False, 65536, 1300, 1)]
for i, size in enumerate([0, 16, 64, 256, 1024, 4096]):
    cases += [plain('9.7.%d' % (i + 1), False, size, count=100), plain('9.8.%d' % (i + 1), True, size, count=100)]
# A server that cannot compress with a small window answers such an offer without the extension, or takes the next one.
none, window, takeover = dict(), dict(request_max_window_bits=9), dict(request_no_context_takeover=True)
offers = [[none], [takeover], [window], [dict(request_max_window_bits=15)], [dict(window, **takeover)], [dict(request_max_window_bits=15, **takeover)], [dict(window, **takeover), takeover, none]]
for i, (size, fragment) in enumerate(sizes):
    cases += [deflated('12.1.%d' % (i + 1), records, False, size, fragment), deflated('12.2.%d' % (i + 1), noise, True, size, fragment)]
    for j, o in enumerate(offers):
        cases += [deflated('13.%d.%d' % (j + 1, i + 1), records, False, size, fragment, [PerMessageDeflateOffer(**kw) for kw in o], None if j in (2, 4) else True)]
class Client(WebSocketClientProtocol):
    def onOpen(self):
        compressed, f = self.factory.case[3], self.factory
        if compressed is not None and (self._perMessageCompress is not None) != compressed: return self.fail('compression: %s' % self._perMessageCompress)
        self.autoFragmentSize, self.left, self.at = f.case[7], f.case[8], 0
        self.next()
    def next(self):
        _, _, _, _, data, binary, size, _, _ = self.factory.case
        if not self.left: return self.sendClose(1000)
        self.expected, self.at, self.left = data[self.at:self.at + size], (self.at + size) % (len(data) - size), self.left - 1
        self.sendMessage(self.expected, binary)
    def onMessage(self, payload, binary):
        if payload != self.expected or binary != self.factory.case[5]: return self.fail('%d bytes, not %d' % (len(payload), len(self.expected)))
        self.next()
    def onClose(self, clean, code, reason):
        if not clean or code != 1000 or self.left: self.fail('closed with %s: %s' % (code, reason))
        if not self.factory.done.done(): self.factory.done.set_result(None)
    def fail(self, why):
        if not self.factory.done.done(): self.factory.done.set_exception(Exception(self.factory.case[0] + ': ' + why))
        self.transport.abort()
async def run(case):
    f = WebSocketClientFactory('ws://%s:%s%s' % (host, port, case[1]))
    f.protocol, f.case, f.done = Client, case, asyncio.get_running_loop().create_future()
    accept = lambda response: PerMessageDeflateResponseAccept(response) if isinstance(response, PerMessageDeflateResponse) else None
    f.setProtocolOptions(perMessageCompressionOffers=case[2] or [], perMessageCompressionAccept=accept, openHandshakeTimeout=20, closeHandshakeTimeout=20)
    await asyncio.get_running_loop().create_connection(f, host, int(port))
    await asyncio.wait_for(f.done, 20)
async def main():
    for case in cases: await run(case)
    print('done')
asyncio.run(main())
`

func TestAutobahnsClient(t *testing.T) {
	runClient(t, autobahnScript, "/usr/bin/python3", "-")
}

// runClient runs a script, whose argument is the address of the server. The Python of the system has the packages of the system.
func runClient(t *testing.T, script string, program ...string) {
	t.Helper()
	if !testkit.Foreign() {
		t.Skip("EVMQ_FOREIGN is not 1")
	}
	if got := output(t, strings.NewReader(script), program[0], append(program[1:], startSockets(t))...); got != "done\n" {
		t.Errorf("the script prints %q", got)
	}
}
