// Queue shows how goroutines hand messages to a loop: what only the loop touches needs no lock.
package main

import (
	"context"
	"fmt"
	"log"
	"sync"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/msgqueue"
)

const producers, each = 4, 10000

type message struct{ from, number int }

func main() {
	loop := must(event.NewLoop(nil))

	var next [producers]int // the loop's own
	queue := must(msgqueue.New(loop, func(m message) {
		if m.number != next[m.from] {
			log.Fatalf("producer %d: message %d in place of %d", m.from, m.number, next[m.from])
		}
		next[m.from]++
	}, &msgqueue.Config{Bound: 64}))

	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for n := range each {
				// Push would say msgqueue.ErrFull when 64 messages wait; this waits until there is room.
				check(queue.PushContext(context.Background(), message{p, n}))
			}
		})
	}
	left := make(chan []message, 1)
	go func() {
		wg.Wait()
		left <- must(queue.Shutdown(context.Background())) // refuses new ones and delivers the rest
	}()

	check(loop.Run(context.Background())) // an open queue keeps it going
	fmt.Println("in order:", next, "longest:", queue.Stats().MaxLen, "left:", len(<-left))
	check(loop.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T { check(err); return v }
