//go:build !race

package server

// assertsLoop is true in race builds.
const assertsLoop = false
