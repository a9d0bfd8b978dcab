// Signal shows events for signals. Their callbacks run on the loop, one after the other, and may do everything that any other callback
// may do.
//
//	go run ./examples/signal
//
// It prints its process number. kill -HUP with this number makes it read its configuration, which is only printed here; Ctrl-C ends it.
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

	// SIGHUP makes the program read its configuration again. No lock is needed, because no other callback runs at the same time.
	loads := 0
	hangup := must(loop.NewSignal(syscall.SIGHUP, func(*event.Event, event.Flags) {
		loads++
		fmt.Println("configuration read", loads)
	}))
	check(hangup.Add(event.NoTimeout))

	// SIGINT and SIGTERM make Run return after the callbacks of the turn.
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		stop := must(loop.NewSignal(sig, func(*event.Event, event.Flags) {
			fmt.Println("stopping on", sig)
			check(loop.Exit(0))
		}))
		check(stop.Add(event.NoTimeout))
	}

	fmt.Println("process", os.Getpid(), "waits for signals")
	check(loop.Run(context.Background()))
	check(loop.Close()) // restores the default actions of the signals
	fmt.Println("done")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T { check(err); return v }
