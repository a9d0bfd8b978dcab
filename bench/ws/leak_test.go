//go:build linux

package ws_test

import (
	"testing"

	"github.com/evmq/evmq/bench/internal/peertest"
)

func TestMain(m *testing.M) { peertest.Main(m) }
