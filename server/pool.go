package server

import (
	"context"
	"fmt"
	"math"

	"github.com/evmq/evmq/internal/workpool"
)

// A Pool is an Executor with a number of goroutines and a queue, like the one that each Server has. The program that has made it ends it, after
// the Shutdown of the servers that use it: the Shutdown of a server waits for the requests of the server that the Pool has, and not for the
// goroutines of the Pool. Several servers may use a Pool together.
type Pool struct {
	pool    *workpool.Pool[Job]
	workers int
}

// A PoolConfig is the configuration of a Pool. The zero value of each field means its default.
type PoolConfig struct {
	// Workers is the number of goroutines that run requests, at most 1048576. 0 means DefaultWorkers; a negative value is an error.
	Workers int
	// Queue limits the number of requests that wait for one of them, as Server.Queue does. 0 means DefaultQueue; a negative value means no
	// limit.
	Queue int
}

// NewPool starts a Pool. A nil cfg means the defaults. Errors: ErrInvalid. Any goroutine.
func NewPool(cfg *PoolConfig) (*Pool, error) {
	p := valueOf(cfg)
	switch {
	case p.Workers < 0 || p.Workers > maxWorkers:
		return nil, fmt.Errorf("new pool: %w: Workers is %d", ErrInvalid, p.Workers)
	case p.Workers == 0:
		p.Workers = DefaultWorkers
	}
	switch {
	case p.Queue < 0:
		p.Queue = math.MaxInt
	case p.Queue == 0:
		p.Queue = DefaultQueue
	}
	return &Pool{workpool.New[Job](p.Workers, p.Queue), p.Workers}, nil
}

// Execute takes as many jobs as the queue has room for. A room that it calls is called when half of the queue is free. After Close Execute
// takes none, and does not call room, so a server that still uses the Pool finds it full. Any goroutine.
func (p *Pool) Execute(jobs []Job, room RoomWaiter) (taken int) { return p.pool.Submit(jobs, room) }

// Workers returns the number of goroutines that run requests. Any goroutine.
func (p *Pool) Workers() int { return p.workers }

// PoolStats has the gauges of a Pool, for all servers that use it.
type PoolStats struct {
	Workers   int // goroutines that run requests
	Queued    int // requests that wait for one of them
	MaxQueued int // the largest Queued so far
	Running   int // requests that run
}

// Stats returns the gauges. Any goroutine.
func (p *Pool) Stats() PoolStats {
	n := p.pool.Counts()
	return PoolStats{Workers: p.workers, Queued: n.Waiting, MaxQueued: n.MaxWaiting, Running: n.Running}
}

// Close ends the Pool. Requests that it has taken still run; then its goroutines end. Close does not wait for that. Further calls do nothing.
// It returns nil. Any goroutine.
func (p *Pool) Close() error {
	p.pool.Close()
	return nil
}

// Shutdown is Close, and waits until the goroutines have ended. When ctx ends first, it returns the cause of ctx, and the Pool still ends
// when its requests have. Errors: the cause of ctx; ErrInvalid if ctx is nil. May block; not in a callback.
func (p *Pool) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("shut pool down: %w", errNilContext)
	}
	p.pool.Close()
	select {
	case <-waited(p.pool.Wait):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut pool down: %w", context.Cause(ctx))
	}
}
