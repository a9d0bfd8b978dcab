// Package examples holds one small program per idea. Each is built and run by a test.
//
//   - timer: one-shot timers, a ticker, an idle timeout that is put off, a timer that is cancelled
//   - signal: signals that arrive as ordinary callbacks
//   - queue: goroutines that hand messages to a loop, and a bounded queue that makes them wait
//   - handoff: a line server. A loop does the input and output, workers do what takes time
package examples
