package server

// A Placement says where the requests of a RequestHandler run.
type Placement uint8

const (
	// Adaptive has the loop run a request itself, between two turns, while the handlers of its route are quick: while they take 50 µs
	// on average at most. The handlers of a route that is slower, or that blocks, run on workers for a time, from 100 ms up to 30 s if it
	// stays slow, and then are tried on the loop again. A handler that blocks on the loop delays the loop's other connections by two ticks of 1 to
	// 8 ms: then another goroutine continues the loop. One that computes delays it until the scheduler has a processor for that
	// goroutine, which with GOMAXPROCS=1 takes a further 10 ms. When as many handlers run as there are workers, requests wait for a worker.
	Adaptive Placement = iota
	// OnLoop has the loop run every request as long as a worker is free. A handler that blocks is treated as with Adaptive, but remains on the loop.
	OnLoop
	// OnWorkers has workers run every request.
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

// A PlacedHandler is a RequestHandler that chooses where its requests run. Without RunsOn it is Adaptive. Loops with event.DriverThread, and those of
// Server.UseLoops, have workers run all requests.
type PlacedHandler interface {
	RequestHandler
	// RunsOn returns the Placement of the next request. Loop only.
	RunsOn() Placement
}

// A RouteHandler is a RequestHandler whose requests differ in how long they take. Each loop keeps a history for each route. Without RouteOf, all
// requests of a handler are one route.
type RouteHandler interface {
	RequestHandler
	// RouteOf returns the key of the message's route, which is copied. It must be quick. A loop distinguishes the first 1000 keys of a handler.
	// Loop only.
	RouteOf(message []byte) (key []byte)
}

// placeFor sets the handler, and where the request runs.
func (req *request) placeFor(h RequestHandler) {
	req.handler = h
	if p, ok := h.(PlacedHandler); ok {
		req.place = p.RunsOn()
	}
	if r, ok := h.(RouteHandler); ok && req.place == Adaptive {
		req.router = r
	}
}
