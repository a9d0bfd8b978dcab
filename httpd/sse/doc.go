// Package sse sends server-sent events, as the HTML standard defines them and EventSource in browsers receives them, on the parked requests of
// package [github.com/evmq/evmq/httpd]. A stream that waits for its next event holds no goroutine.
//
//	events, err := sse.NewGroup(nil)
//	...
//	http.Handle("/events", events) // in a server of package httpd
//	...
//	_, err = events.Broadcast(sse.Event{Name: "price", Data: "42"}, nil) // to every client, from any goroutine
//
// # Streams
//
// [Start] responds to a request with a stream of its own, a [Stream]. A [Group] is a set of streams that get the same events, each encoded
// once. Both respond with the content type text/event-stream and Cache-Control: no-cache, and with X-Accel-Buffering: no, which makes nginx
// pass events on at once. Other fields, and values of the last two, that the handler has set before are kept.
//
// # Events
//
// [Event.Append] writes the format. Each line of the data becomes a field of its own. A line ends with a line feed, a carriage return, or
// both; the client joins the lines with line feeds. These events are refused with [ErrInvalid]: those whose name has the end of a line, those
// whose ID the client could not send back as Last-Event-ID, and those whose text is not UTF-8, which clients change.
//
// # Reconnects
//
// When its connection ends, EventSource connects again, after the time of Retry, and sends the ID of the last event that it has received. A
// Group keeps its latest events, the history, and sends the client those after this one. If the history does not have the ID, the client is
// sent all of the history. So the client misses no event that the history has, gets the events in their order, and none twice. The Group
// gives an event without an ID one that differs from those of other Groups and of earlier runs of the program. GroupConfig.Replay may return
// older events, from a store of the program. A client that has missed many events is sent them as it reads, and gets the same events as the
// other clients when it has all of them.
//
// # Slow clients
//
// Sending never waits. MaxPending limits for each stream the output that the kernel has not taken. At the limit, a Group cuts the client
// off by default; the client connects again, and continues where it was. With GroupConfig.KeepSlow it misses events instead. A client that takes
// none of the output that waits for as long as IdleTimeout of the server is cut off in any case.
//
// # Keep-alive
//
// A proxy often ends a connection on which nothing happens. A Group sends a comment, which clients ignore, when it has sent nothing for
// GroupConfig.KeepAlive. One timer serves all its streams, and none runs while it has no stream.
//
// # The end
//
// A stream ends when its client goes away, when the program closes it, and when Shutdown of the server begins: then a Group closes its
// streams in order, and the clients connect to the next process.
package sse
