package memcache

import (
	"runtime/debug"
	"sync"
)

// Version is the answer to the version command: the release of memcached whose behaviour the cache has. It consists of digits and dots, because
// clients compare it with known releases, and some fail on any other form.
const Version = "1.6.18"

const modulePath = "github.com/evmq/evmq"

// Release returns the release of this module that the program was built from, which stats settings shows as evmq_version: a version of the module,
// or "(devel)" for a build from a working tree. Any goroutine.
func Release() string { return release() }

var release = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unreleased
	}
	return releaseIn(info)
})

const unreleased = "(devel)"

// releaseIn returns the version of this module in a program's build information.
func releaseIn(info *debug.BuildInfo) string {
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == modulePath && m.Version != "" {
			return m.Version
		}
	}
	return unreleased
}
