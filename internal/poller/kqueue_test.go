//go:build darwin || freebsd

package poller_test

import (
	"testing"

	"github.com/evmq/evmq/internal/poller"
	"github.com/evmq/evmq/internal/poller/pollertest"
)

func TestKqueue(t *testing.T) { pollertest.Run(t, poller.NewKqueue) }
