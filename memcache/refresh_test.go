package memcache_test

import (
	"errors"
	"testing"

	"github.com/evmq/evmq/memcache"
)

// TestCertificatesAreRefreshedOnDemand, where there is something to refresh, and what fails is told.
func TestCertificatesAreRefreshedOnDemand(t *testing.T) {
	start(t, memcache.Config{}).connect(t).ask("refresh_certs", "Error TLS not enabled")
	var fail error
	c := start(t, memcache.Config{RefreshCerts: func() error { return fail }}).connect(t)
	c.ask("refresh_certs", "OK")
	fail = errors.New("no such\nfile")
	c.send("refresh_certs")
	c.expect("Error no such file")
}
