package leaktest

import (
	"runtime/debug"
	"slices"
)

// Raced reports whether the race detector is built in. Tests of a single goroutine or of memory use may be skipped then.
func Raced() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
