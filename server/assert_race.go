//go:build race

package server

// assertsLoop makes methods that are loop only check the goroutine.
const assertsLoop = true
