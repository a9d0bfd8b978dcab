package server

// A Placement says where the requests of a RequestHandler run.
type Placement uint8

const (
	// Adaptive makes the loop run a request itself, between two turns, while the handlers of its route are quick, which means 50 µs on
	// average or less. If they are slower, or block, workers run them for a time, from 100 ms up to 30 s if they stay slow; then the loop
	// tries them again. A handler that blocks on the loop delays the loop's other connections by two periods of a timer, 1 to 8 ms each; then
	// another goroutine runs the loop. A handler that computes delays them until the scheduler has a processor for that goroutine: measured
	// with as many such handlers as processors, 30 to 60 ms on average and 88 ms at most. When as many handlers run as there are workers,
	// requests wait for a worker.
	Adaptive Placement = iota
	// OnLoop makes the loop run every request while a worker is free. It runs those of an Executor of Server.Executors while none of them that
	// has blocked a loop still runs. If a handler blocks, another goroutine runs the loop, as with Adaptive, but later requests of the route
	// still run on the loop.
	OnLoop
	// OnWorkers makes workers, or the Executor that an ExecutorHandler chooses, run every request.
	OnWorkers
)

// String returns the placement's name. Any goroutine.
func (p Placement) String() string {
	switch p {
	case Adaptive:
		return "adaptive"
	case OnLoop:
		return "on the loop"
	case OnWorkers:
		return "on workers"
	}
	return "unknown"
}

// A PlacedHandler is a RequestHandler that chooses where its requests run. The requests of a RequestHandler without RunsOn are Adaptive. On loops
// with event.DriverThread, and on those of Server.UseLoops, workers run all requests.
type PlacedHandler interface {
	RequestHandler
	// RunsOn returns the Placement of the next request. Loop only.
	RunsOn() Placement
}

// A RouteHandler is a RequestHandler whose requests take different times. Each loop measures the handlers of each route separately. Without
// RouteOf, all requests of a handler have the same route.
type RouteHandler interface {
	RequestHandler
	// RouteOf returns the key of the message's route. The loop copies the key. RouteOf must be quick. A loop distinguishes the first 1000
	// keys of a handler. Loop only.
	RouteOf(message []byte) (key []byte)
}

// A CancelHandler is a RequestHandler that can make Conn.Context end when the peer closes its sending half while one of its requests is in
// progress, and no input is unread: then the peer has gone, or waits for the answer without a further request. net/http does the same. Input
// that arrives meanwhile is kept, within the limits of Input. If input is unread when the peer closes, for example a further request,
// Context does not end, unless a request consumes all of it by Reply.Input, as the rest of its body: then it ends with that. The answer may
// be written in any case.
//
// When the peer resets the connection, a reply that was deferred ends at once, and not at its deadline.
//
// The end of the peer's half is noticed while requests wait, run on workers or are deferred, or block on the loop for so long that another
// goroutine runs it; not while PauseRead or the water marks stop reading, nor while as many requests are in progress as
// Dispatcher.Concurrent permits, if it is above 1.
type CancelHandler interface {
	RequestHandler
	// CancelsOnEOF reports whether Conn.Context ends in this way during the next request. Loop only.
	CancelsOnEOF() bool
}

// cancels reports whether Context ends with the peer's half during the next request of h.
func cancels(h RequestHandler) bool {
	x, ok := h.(CancelHandler)
	return ok && x.CancelsOnEOF()
}

// placeFor sets the handler, and where the request runs.
func (req *request) placeFor(h RequestHandler) {
	req.handler = h
	if p, ok := h.(PlacedHandler); ok {
		req.place = p.RunsOn()
	}
	req.cancels = cancels(h)
	if r, ok := h.(RouteHandler); ok && req.place == Adaptive {
		req.router = r
	}
}
