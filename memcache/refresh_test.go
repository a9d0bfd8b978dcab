package memcache_test

import (
	"errors"
	"testing"

	"github.com/evmq/evmq/memcache"
)

// TestCertificatesAreRefreshedOnDemand if Config.RefreshCerts is set. Its error is in the answer.
func TestCertificatesAreRefreshedOnDemand(t *testing.T) {
	start(t, memcache.Config{}).connect(t).ask("refresh_certs", "Error TLS not enabled")
	for answer, err := range map[string]error{"OK": nil, "Error no such file": errors.New("no such\nfile")} {
		start(t, memcache.Config{RefreshCerts: func() error { return err }}).connect(t).ask("refresh_certs", answer)
	}
}
