// Package httpd serves HTTP with the handlers of package net/http, on the event loops of package server.
//
// A program that uses net/http replaces one line:
//
//	log.Fatal(httpd.ListenAndServe(":8080", handler)) // was: http.ListenAndServe
//
// Requests and answers are those of net/http: http.Handler, http.ResponseWriter, http.Request, and with them every router and middleware.
// They run elsewhere: a connection that waits for its next request holds no goroutine and no buffer. A handler runs on the loop that has
// read the request while handlers of its route are quick, and otherwise on one of the workers; see server.Placement. A route is the method
// and the first two segments of the path, or what Server.Route returns.
//
// # Differences from package net/http
//
//   - ReadHeaderTimeout and IdleTimeout are on by default: 10 seconds and 3 minutes.
//   - The rest of a body that the handler has not read has to arrive within ReadHeaderTimeout, unless there is a ReadTimeout.
//   - ReadTimeout counts from the end of the head, which ReadHeaderTimeout limits.
//   - At most Server.Workers handlers run on workers at the same time; the next requests wait. A handler that waits for long, as one that
//     serves a WebSocket with a library for net/http does, holds a worker, or a goroutine of its own if it has called Hijack and returned.
//     With Park it holds none.
//   - The body above the limit of an http.MaxBytesReader closes the connection only if it is longer than 256 KB.
//   - Hijack returns a net.Conn that is not a *net.TCPConn or *tls.Conn. Like these, it has CloseWrite. Shutdown closes such connections when
//     there are no others.
//   - ConnState reports StateNew after the TLS handshake, and StateActive when the head of a request is complete and valid. The net.Conn of ConnState and ConnContext only describes the connection.
//   - The following are refused, which net/http accepts: a line feed without a carriage return, a folded line in the head or in a
//     trailer, a space before the colon in a trailer, more than one Content-Length even if they are equal, Content-Length beside
//     Transfer-Encoding, Transfer-Encoding in HTTP/1.0, chunk extensions that do not follow the grammar of RFC 9112, more than one empty
//     line before a request, fields of the head, such as Host, in Trailer, and the preface of HTTP/2 without TLS.
//   - One empty line before a request is ignored, as RFC 9112 has it; net/http does so only after a POST. A space or a tab before the
//     semicolon of a chunk extension is ignored, too.
//   - Close of the body of a request with Expect: 100-continue reads nothing if no Read came before it: the client waits.
//   - Fields of the head that are in a trailer are left out of Request.Trailer.
//   - A connection that ends within a request gets 400, also if fewer than four bytes of the request have arrived.
//
// # Parked requests
//
// A request that waits for an event, as a long poll or a stream does, need hold no goroutine: the handler calls Park and returns. The
// answer is then a Parked, a http.ResponseWriter that any goroutine completes later:
//
//	func next(w http.ResponseWriter, r *http.Request) {
//		p, err := httpd.Park(w, r, &httpd.ParkConfig{OnTimeout: func(p *httpd.Parked) {
//			p.WriteHeader(http.StatusNoContent)
//			p.Close()
//		}})
//		if err != nil {
//			http.Error(w, err.Error(), http.StatusInternalServerError)
//			return
//		}
//		waiting.Add(p) // a *httpd.Group
//	}
//
//	waiting.Complete(news, nil) // answers all of them
//
// Meanwhile the request is in progress: the next one of its connection waits, its context lives, and Shutdown waits for it. Its methods never
// wait; each write is accepted or refused, output that the client does not take is limited, and Notify tells the outcome. A Group sends to many answers what is
// encoded once. A parked stream takes about 700 bytes in all, connection included; the request itself is kept only as long as the program
// refers to it or its context is waited for. Up to 2 KB that are gathered before the head is sent do not count in MaxBuffered. Package
// [github.com/evmq/evmq/httpd/sse] sends server-sent events on parked requests.
//
// # Other protocols
//
// Package [github.com/evmq/evmq/httpd/websocket] serves WebSockets in a handler. [Upgrade] passes the connection of a request to a server.Handler of any other
// protocol. Such a connection stays on its loop, and holds no goroutine.
//
// # HTTP/2
//
// A connection whose TLS handshake chooses HTTP/2 is served by package net/http, and holds goroutines and buffers as there. It counts
// in MaxConns, Shutdown waits for its requests, and IdleTimeout ends it when it has none. Park works; the goroutine of the request then waits and
// writes the answer, output that waits for it does not count in MaxBuffered, and the context does not end when Shutdown begins.
package httpd
