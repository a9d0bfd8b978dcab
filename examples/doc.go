// Package examples holds one small program per idea. Each is built and run by a test.
//
//   - timer: one-shot timers, a ticker, an idle timeout that is put off, a timer that is cancelled
//   - signal: signals that arrive as ordinary callbacks
//   - queue: goroutines that hand messages to a loop, and a bounded queue that makes them wait
//   - handoff: a line server. A loop does the input and output, workers do what takes time
//
// These are servers on package server:
//
//   - hello: the smallest one
//   - echo: the two ways to answer, on a loop and on workers, each with bytes and with lines, in plain and over TLS
//   - chat: what one says all hear, and who does not read disturbs nobody
//   - smtp: a protocol with two framings, which change in mid-stream
//   - proxy: pairs of connections that pause each other
//   - dispatcher: connections, timers and answers that are brought from elsewhere
//   - graceful: a program that is replaced by a new process and loses no answer
package examples
