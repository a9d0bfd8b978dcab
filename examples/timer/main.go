// Timer shows the four things that are done with time on a loop.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/evmq/evmq/event"
)

func main() {
	loop := must(event.NewLoop(nil))

	// Once, after a while.
	must(loop.AfterFunc(10*time.Millisecond, func() { fmt.Println("once") }))

	// A timer that is cancelled never calls.
	cancelled := must(loop.AfterFunc(20*time.Millisecond, func() { fmt.Println("cancelled: nobody sees this") }))
	check(cancelled.Del())

	// An idle timeout: each Add puts it off again, so it passes when nothing has happened for that long.
	idle := must(loop.NewTimer(func(*event.Event, event.Flags) { fmt.Println("idle") }))

	// Again and again, without drift: each tick is due one interval after the last was due.
	ticks := 0
	ticker := must(loop.NewTicker(func(ticker *event.Event, _ event.Flags) {
		ticks++
		fmt.Println("tick", ticks)
		check(idle.Add(200 * time.Millisecond))
		if ticks == 5 {
			check(ticker.Del())
		}
	}))
	check(ticker.Add(50 * time.Millisecond))

	check(loop.Run(context.Background())) // returns when nothing is left to wait for
	fmt.Println("done")
	check(loop.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T { check(err); return v }
