//go:build linux || darwin || freebsd

package socktest_test

import (
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
