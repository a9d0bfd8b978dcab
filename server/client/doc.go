// Package client sends requests to other servers over connections on the loops of a [server.Server], and waits for their answers. A [Client]
// is a pool of connections to one address:
//
//	backend := &client.Client{Server: srv, Address: "127.0.0.1:8000", Framing: framing.Lines{}}
//	answer, err := backend.Do(ctx, []byte("get fruit\n"))
//
// Each answer is one message of the framing. Requests are sent as they are, with whatever ends or precedes them in the protocol.
//
// # Handlers
//
// Do blocks. A function of [server.Dispatch] may call it wherever it runs: if it runs on a loop, another goroutine runs the loop from then
// on. In callbacks of a loop Do returns [event.ErrOnLoop]. Answers arrive on the loops and need no worker, so handlers that wait may occupy
// all workers. A handler must not wait for an answer of a server that needs one of the same workers for it.
//
// # Connections
//
// A request goes to the connection with the fewest requests, and among those to the one that was used last. While fewer than MaxConns
// connections exist and none is without a request, another one is opened. A call that finds no room waits for the first connection that has
// some, in the order of the calls. If a connection cannot be opened, the oldest call that waits gets the error, and all of them if there is
// no other connection. Each connection is on one loop; the server distributes them.
//
// The loops notice when a peer closes an idle connection, so that it is not used any more. A request that is sent at that moment may fail with
// [ErrNoAnswer]; see Client.Idempotent. A connection whose peer sends bytes without a request is ended.
//
// Deadlines of the server that concern what clients send, IdleTimeout, ReadTimeout and FirstRequestTimeout, do not apply to these
// connections. WriteTimeout, CloseTimeout, MaxOutput and MaxBuffered do.
//
// # The end
//
// [Client.Close] ends the connections when their requests are answered. A Shutdown of the server ends them when no connection that a client
// has made is left; until then handlers may use the Client, and it may open connections. Afterwards calls fail with
// [server.ErrServerClosed].
//
// The package uses the exported methods of package server only. Programs can build clients for other protocols in the same way: with
// [server.Server.Dial] and a Handler, and [server.Server.Blocking] before they wait.
package client
