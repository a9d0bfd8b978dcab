package client

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// A config is the copy of the fields of a Client that the first request makes, with the defaults filled in. No limit is stored as the
// largest integer, and no deadline as event.NoTimeout.
type config struct {
	network, address               string
	framing                        framing.Framing
	dial                           server.DialConfig // without the handler
	maxConns, maxIdle, maxRequests int
	pipeline, maxWaiting           int
	idleTimeout, answerTimeout     time.Duration
	idempotent                     func(request []byte) bool
}

// prepare resolves the fields before the first request.
func (c *Client) prepare() error {
	if c.prepared.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg != nil {
		return nil
	}
	cfg, err := c.resolve()
	if err != nil {
		return err
	}
	c.cfg = cfg
	c.byLoad = make([]connList, cfg.pipeline)
	c.dialCtx, c.stopDial = context.WithCancel(context.Background())
	c.prepared.Store(true)
	return nil
}

// resolve returns the configuration. Errors: ErrInvalid, which names the field.
func (c *Client) resolve() (*config, error) {
	switch {
	case c.Server == nil:
		return nil, fmt.Errorf("%w: Client.Server is nil", server.ErrInvalid)
	case c.Address == "":
		return nil, fmt.Errorf("%w: Client.Address is empty", server.ErrInvalid)
	case c.Framing == nil:
		return nil, fmt.Errorf("%w: Client.Framing is nil", server.ErrInvalid)
	case c.Pipeline < 0 || c.Pipeline > LargestPipeline:
		return nil, fmt.Errorf("%w: Client.Pipeline is %d, not in 0 to %d", server.ErrInvalid, c.Pipeline, LargestPipeline)
	}
	if err := framing.Check(c.Framing); err != nil {
		return nil, fmt.Errorf("%w: Client.Framing: %w", server.ErrInvalid, err)
	}
	maxConns := limit(c.MaxConns, DefaultMaxConns)
	return &config{
		network: cmp.Or(c.Network, "tcp"), address: c.Address, framing: c.Framing,
		dial:     server.DialConfig{Timeout: c.DialTimeout, TLS: c.TLS, Resolver: c.Resolver},
		maxConns: maxConns, maxIdle: limit(c.MaxIdle, maxConns),
		maxRequests: limit(c.MaxRequests, math.MaxInt),
		pipeline:    cmp.Or(c.Pipeline, 1), maxWaiting: limit(c.MaxWaiting, DefaultMaxWaiting),
		idleTimeout: deadline(c.IdleTimeout, DefaultIdleTimeout), answerTimeout: deadline(c.AnswerTimeout, DefaultAnswerTimeout),
		idempotent: c.Idempotent,
	}, nil
}

// limit returns the value of a limit.
func limit(n, fallback int) int {
	if n < 0 {
		return math.MaxInt
	}
	return cmp.Or(n, fallback)
}

// deadline returns the value of a duration.
func deadline(d, fallback time.Duration) time.Duration {
	if d < 0 {
		return event.NoTimeout
	}
	return cmp.Or(d, fallback)
}
