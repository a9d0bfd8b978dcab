package memcache

import (
	"runtime/debug"
	"sync"
)

// Version is the answer to the version command: the release of memcached whose behaviour this is. It is digits and dots, because
// clients compare it with the releases that they know, and some end on anything else.
const Version = "1.6.18"

const modulePath = "github.com/evmq/evmq"

// Release returns the release of this module that the program was built of, as stats settings shows it under evmq_version: a version of the
// module, or "(devel)" in a program that was built in a working tree. Any goroutine.
func Release() string { return release() }

var release = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unreleased
	}
	return releaseIn(info)
})

const unreleased = "(devel)"

// releaseIn finds this module among those that a program was built of.
func releaseIn(info *debug.BuildInfo) string {
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == modulePath && m.Version != "" {
			return m.Version
		}
	}
	return unreleased
}
