package leaktest

import (
	"runtime/debug"
	"slices"
)

// Raced says whether the race detector is built in: a test of what one goroutine does, or of memory, may leave it out then.
func Raced() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
