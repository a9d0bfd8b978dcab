// Package sse sends server-sent events, as the HTML standard defines them and EventSource in browsers receives them, on the parked requests of
// package [github.com/evmq/evmq/httpd]. A stream that waits for its next event holds no goroutine.
//
//	events, err := sse.NewGroup(nil)
//	...
//	http.Handle("/events", events)
//	...
//	events.Send(sse.Event{Name: "price", Data: "42"}, nil) // to every client, from any goroutine
//
// # Streams
//
// [Start] answers a request with a stream of its own, a [Stream]. A [Group] is a set of streams that get the same events, each encoded
// once. Both answer with the content type text/event-stream and Cache-Control: no-cache, and with X-Accel-Buffering: no, which makes nginx
// pass events on at once. Fields that the handler has set before are kept.
//
// # Events
//
// [Event.Append] writes the format. Each line of the data becomes a field of its own, whatever ends it: a line feed, a carriage return, or
// both; the client joins them with line feeds. A name with the end of a line, an ID that the client could not send back as Last-Event-ID, and
// text that is not UTF-8, which clients change, are refused with [ErrInvalid].
//
// # Reconnects
//
// When its connection ends, EventSource connects again, after the time of Retry, and sends the ID of the last event that it has received. A
// Group keeps its latest events, and sends the client those after this one; if it does not have it any more, all that it has. So no event of
// the history is lost, in the order of the events, and none comes twice. Events without an ID get one from the Group, which differs from those
// of other Groups and of earlier runs of the program. Config.Replay has older events, from a store of the program. A client that has missed much
// gets it as it reads, and joins the others when it has all of it.
//
// # Slow clients
//
// Sending never waits. Output that the kernel has not taken is limited by MaxPending for each stream. A client of a Group that does not read so
// much is cut off by default, and continues by its reconnect where it was; Config.KeepSlow makes it miss events instead. A client that takes nothing of what
// waits for as long as Server.IdleTimeout is cut off in any case.
//
// # Keep-alive
//
// A proxy often ends a connection on which nothing happens. A Group sends a comment, which clients ignore, when it has sent nothing for
// Config.KeepAlive. One timer serves all its streams, and none runs while it has no stream.
//
// # The end
//
// A stream ends when its client goes away, when the program closes it, and when Shutdown of the server begins: then a Group closes its
// streams in order, and the clients connect to the next process.
package sse
