// Package httpd serves HTTP with the handlers of package net/http, on the event loops of package server.
//
// A program that uses net/http replaces one line:
//
//	log.Fatal(httpd.ListenAndServe(":8080", handler)) // was: http.ListenAndServe
//
// The types are those of net/http: http.Handler, http.ResponseWriter, http.Request, and with them every router and middleware. A [Server]
// has the fields and methods of http.Server. Only the place where handlers run is different: a connection that waits for its next request
// holds no goroutine and no buffer. A handler runs on the loop that has read the request while handlers of its route are quick, and
// otherwise on one of the workers; see [server.Placement]. A route is the method and the first two segments of the path, or what
// Server.Route returns.
//
// # Differences from package net/http
//
//   - ReadHeaderTimeout and IdleTimeout are on by default: 10 seconds and 3 minutes.
//   - The rest of a body that the handler has not read has to arrive within ReadHeaderTimeout, unless ReadTimeout is set.
//   - ReadTimeout counts from the end of the head, which ReadHeaderTimeout limits.
//   - At most Server.Workers handlers run on workers at the same time; the next requests wait. A handler that waits for a long time, as one that
//     serves a WebSocket with a library for net/http does, holds a worker, or a goroutine of its own if it has called Hijack and returned.
//     With Park it holds none.
//   - Serve refuses a listener of package crypto/tls: the program calls ServeTLS with the listener beneath it instead. Server has no field
//     TLSNextProto.
//   - A request body above the limit of an http.MaxBytesReader closes the connection only if more than 256 KB of it were not read.
//   - Hijack returns a net.Conn that is not a *net.TCPConn or *tls.Conn. Like these, it has CloseWrite. Shutdown closes such connections when
//     there are no others.
//   - ConnState reports StateNew after the TLS handshake, and StateActive when the head of a request is complete and valid. The net.Conn of
//     ConnState and ConnContext only describes the connection.
//   - The following are refused, which net/http accepts: a line feed without a carriage return, a folded line in the head or in a
//     trailer, a space before the colon in a trailer, more than one Content-Length even if they are equal, Content-Length beside
//     Transfer-Encoding, Transfer-Encoding in HTTP/1.0, chunk extensions that do not follow the grammar of RFC 9112, more than one empty
//     line before a request, a field Trailer that announces a field which a trailer must not have, such as Host, and the preface of HTTP/2
//     without TLS.
//   - One empty line before a request is ignored, as RFC 9112 says; net/http does so only after a POST. A space or a tab before the
//     semicolon of a chunk extension is ignored, too.
//   - Closing the body of a request with Expect: 100-continue before the first Read reads nothing, since the client waits for 100 Continue.
//   - Fields that a trailer must not have, such as Host, are left out of Request.Trailer.
//   - A client that closes its sending half within the head of a request gets 400, also if fewer than four bytes have arrived.
//
// # Parked requests
//
// A request that waits for an event, as a long poll or a stream does, need not hold a goroutine: the handler calls [Park] and returns. The
// response is then a [Parked], an http.ResponseWriter that any goroutine completes later:
//
//	var waiting = httpd.NewGroup(nil)
//
//	func next(w http.ResponseWriter, r *http.Request) {
//		p, err := httpd.Park(w, r, &httpd.ParkConfig{OnTimeout: noContent})
//		if err != nil {
//			http.Error(w, err.Error(), http.StatusInternalServerError)
//			return
//		}
//		if waiting.Add(p) != nil { // the client has gone, or Shutdown has begun
//			noContent(p)
//		}
//	}
//
//	func noContent(p *httpd.Parked) {
//		p.WriteHeader(http.StatusNoContent)
//		_ = p.Close() // fails if the connection has ended
//	}
//
// Then any goroutine completes the responses of the group with one call:
//
//	waiting.Complete(news, nil)
//
// Until the response is complete the request counts as in progress: the next request of its connection waits, and Shutdown waits for it. Its
// context ends before that only if the client goes away or Shutdown begins. The methods of a Parked never wait. Each write is accepted or
// refused, the output that a client has not taken is limited, and Notify reports the outcome. A [Group] encodes a text once and writes it to
// many responses.
//
// A parked stream takes about 700 bytes in all, connection included. The http.Request is released as soon as neither the program nor a goroutine that
// waits for its context refers to it. The bytes of a response that are gathered before its head is sent, 2 KB at most, do not count in MaxBuffered.
// Package [github.com/evmq/evmq/httpd/sse] sends server-sent events on parked requests.
//
// # Other protocols
//
// Package [github.com/evmq/evmq/httpd/websocket] serves WebSockets in a handler. [Upgrade] passes the connection of a request to a
// server.Handler of any other protocol. Such a connection stays on its loop, and holds no goroutine.
//
// # HTTP/2
//
// A connection whose TLS handshake chooses HTTP/2 is served by package net/http, and holds goroutines and buffers as it does there. It counts
// in MaxConns, Shutdown waits for its requests, and IdleTimeout ends it when it has none. Park works, with these differences: the goroutine of
// the request waits and writes the response, output that waits for the client does not count in MaxBuffered, and the context of the request
// does not end when Shutdown begins.
package httpd
