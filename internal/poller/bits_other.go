//go:build darwin || freebsd

package poller

// FreeBSD has POLLRDHUP since release 13.1, but x/sys defines it for all releases, and older kernels ignore it without an
// error. So it is not used.
const (
	pollRDHUP    = 0
	pollFeatures = FeatureAnyFile
)
