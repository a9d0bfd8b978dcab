//go:build linux

package poller_test

import (
	"testing"

	"github.com/evmq/evmq/internal/poller"
	"github.com/evmq/evmq/internal/poller/pollertest"
)

func TestEpoll(t *testing.T) { pollertest.Run(t, poller.NewEpoll) }
