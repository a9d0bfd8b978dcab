//go:build linux

package peers_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
)

func TestMain(m *testing.M) {
	var err error
	if programs.dir, err = os.MkdirTemp("", "peers"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	leaktest.Main(m, func() {
		if err := os.RemoveAll(programs.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
}
