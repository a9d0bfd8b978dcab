// Signal shows that signals are events like any others: their callbacks run on the loop, one after the other, and may do
// what any callback may.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"syscall"

	"github.com/evmq/evmq/event"
)

func main() {
	loop := must(event.NewLoop(nil))

	// A program that gets a hangup reads its configuration again. No lock is needed: no other callback runs meanwhile.
	loads := 0
	hangup := must(loop.NewSignal(syscall.SIGHUP, func(*event.Event, event.Flags) {
		loads++
		fmt.Println("configuration read", loads)
	}))
	check(hangup.Add(event.NoTimeout))

	// Whoever asks the program to stop makes Run return, after this turn's callbacks.
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		stop := must(loop.NewSignal(sig, func(*event.Event, event.Flags) {
			fmt.Println("stopping on", sig)
			check(loop.Exit(0))
		}))
		check(stop.Add(event.NoTimeout))
	}

	fmt.Println("process", os.Getpid(), "waits for signals")
	check(loop.Run(context.Background()))
	check(loop.Close()) // gives the signals back: from now on they do again what the system does by default
	fmt.Println("done")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T { check(err); return v }
