//go:build darwin || freebsd

package poller

// FreeBSD has POLLRDHUP since its release 13.1, under a number that x/sys states for all; older kernels would ignore it
// in silence, so it is not used.
const (
	pollRDHUP    = 0
	pollFeatures = FeatureAnyFile
)
