package server

import (
	"fmt"
	"maps"
	"slices"
)

// An ExecutorHandler is a RequestHandler that chooses an Executor for each message. Without ExecutorOf, all requests run in the server's own
// pool. Requests that run on the loop, as their Placement says, need no Executor.
type ExecutorHandler interface {
	RequestHandler
	// ExecutorOf returns the key in Server.Executors of the Executor for the message, or "" for the server's own pool. It may be called several
	// times for a message, and must return the same name each time. If the server does not have the name, the connection is closed with
	// ErrHandler, after the answers to its older requests; see ExecutorNamesHandler. ExecutorOf must be quick. Any goroutine.
	ExecutorOf(message []byte) (name string)
}

// An ExecutorNamesHandler is a Handler whose requests need certain Executors. The functions that it is passed to, such as Start and
// SetHandler, return ErrInvalid if the server does not have one of them.
type ExecutorNamesHandler interface {
	Handler
	// ExecutorNames returns keys of Server.Executors. Any goroutine.
	ExecutorNames() []string
}

// checkNames returns an error if h is an ExecutorNamesHandler with a name that Executors does not have.
func (cfg *config) checkNames(h Handler) error {
	names, ok := h.(ExecutorNamesHandler)
	if !ok {
		return nil
	}
	for _, name := range names.ExecutorNames() {
		if _, ok := cfg.Executors[name]; !ok && name != "" {
			return fmt.Errorf("%w: Handler is a %T, which needs %q of Executors; the server has %q", ErrInvalid, h, name, cfg.executorNames())
		}
	}
	return nil
}

// executorNames returns the names of the Executors, sorted.
func (cfg *config) executorNames() []string { return slices.Sorted(maps.Keys(cfg.Executors)) }

// checkExecutors checks Executors, and resolves QueueTimeout.
func (cfg *config) checkExecutors() error {
	for _, name := range cfg.executorNames() {
		if name == "" || cfg.Executors[name] == nil {
			return fmt.Errorf("%w: Executors[%q] is a %T", ErrInvalid, name, cfg.Executors[name])
		}
		if p, ok := cfg.Executors[name].(*Pool); ok && (p == nil || p.pool == nil) {
			return fmt.Errorf("%w: Executors[%q] is a Pool that NewPool has not made", ErrInvalid, name)
		}
	}
	cfg.QueueTimeout = max(cfg.QueueTimeout, 0)
	return nil
}

// A destination is the executor of a request.
type destination struct {
	ex      *executor
	chooser ExecutorHandler // the RequestHandler, if it chooses between executors
}

// destinationOf returns the destination of a message for h. Errors: ErrHandler if h has chosen an executor that the server does not have.
func (s *Server) destinationOf(h RequestHandler, message []byte) (destination, error) {
	chooser, ok := h.(ExecutorHandler)
	if !ok {
		return destination{ex: s.executors[0]}, nil
	}
	name := chooser.ExecutorOf(message)
	if name == "" {
		return destination{s.executors[0], chooser}, nil
	}
	ex := s.executorsByName[name]
	if ex == nil {
		return destination{}, fmt.Errorf("%w: ExecutorOf of %T returned %q, which is no key of Server.Executors", ErrHandler, h, name)
	}
	return destination{ex, chooser}, nil
}

// mayServe reports whether the message belongs to the executor of the request.
func (req *request) mayServe(message []byte) bool {
	return req.chooser == nil || req.chooser.ExecutorOf(message) == req.ex.name
}
