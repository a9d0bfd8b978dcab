package tlstest_test

import (
	"crypto/tls"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tlsio/tlstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The keys of two directions take up more than 1 KB, and the input buffer has room for the largest record that has come.
func TestHeldConnectionsTakeUpTheMemoryOfTheirTLSState(t *testing.T) {
	config, err := tlstest.Config()
	testkit.Must(t, err)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for bytes, least := range map[int]int64{0: 2 << 10, 1 << 20: 16 << 10} {
			const n = 20
			var held tlstest.Held
			before := tlstest.Heap()
			testkit.Must(t, held.Hold(n, config, tlstest.Echo(version, bytes)))
			if size := (tlstest.Heap() - before) / n; size < least || size > 80<<10 {
				t.Errorf("%s: a connection takes up %d bytes after an echo of %d", tls.VersionName(version), size, bytes)
			}
			testkit.Must(t, held.Close())
		}
	}
}
