package event

import (
	"errors"
	"fmt"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// A driver is the way a loop sleeps. wait, adopt, afterSleep and close are called by the goroutine that runs the loop; announceWake and wake by a
// goroutine that has cleared the loop's asleep flag.
type driver interface {
	name() Driver

	// open makes a poller that this driver can sleep on.
	open() (poller.Poller, error)

	// adopt makes p the poller. The previous one stays open; the caller closes it. After an error the previous one is still the
	// poller. Under l.mu, except for the first poller.
	adopt(p poller.Poller) error

	// wait fills ready. With block it sleeps while nothing is ready and the loop has no work, until the loop's next
	// deadline at the latest. It may return early without a report.
	wait(ready []poller.Ready, block bool) (int, error)

	// announceWake is called by a goroutine that has cleared the asleep flag, under l.mu. It returns the way of the sleep. After unlocking, that
	// goroutine calls wake with it.
	announceWake() way

	// wake ends the sleep in progress, or the next one if there is none. w is the way of the sleep for which it was called.
	wake(w way)

	// afterSleep counts the sleep that began at began, NoTimeout if that is not known, and ended before now. woken says whether another
	// goroutine has ended it. It returns true if the loop must yield in its next turn. Under l.mu.
	afterSleep(began, now time.Duration, woken bool) (mustYield bool)

	// close releases the driver's resources, but not the poller. After close no wake uses a descriptor of the driver.
	close() error
}

// A way is how a loop sleeps.
type way uint8

const (
	wayNone way = iota
	wayParked
	wayBlocked
)

func (w way) String() string { return [...]string{"none", "parked", "blocked"}[w] }

// newDriver chooses the driver and opens the loop's poller.
func (l *Loop) newDriver(c *config) error {
	open, err := c.opener()
	if err != nil {
		return err
	}
	var d driver
	switch c.Driver {
	case DriverPark:
		d, err = startDriver(newParkDriver(l, open))
	case DriverAdaptive, driverAlternate:
		if c.OpenPoller != nil { // it need not empty its waker as epoll does
			err = fmt.Errorf("%w: driver %s with OpenPoller", ErrUnsupported, c.Driver)
		} else {
			d, err = startDriver(newAdaptiveDriver(l, open, c.waker, c.Driver == driverAlternate))
		}
	case DriverThread:
		d, err = startDriver(newThreadDriver(l, open, c.waker))
	case DriverDefault:
		d, err = l.defaultDriver(c, open)
	default:
		err = fmt.Errorf("%w: driver %q", ErrUnsupported, c.Driver)
	}
	if err != nil {
		return err
	}
	l.driver = d
	l.features = Features(l.poller.Features())
	if !l.features.Has(c.Features) {
		err := fmt.Errorf("%w: backend %s has %v, asked for %v", ErrUnsupported, l.poller.Name(), l.features, c.Features)
		return errors.Join(err, d.close(), l.poller.Close())
	}
	return nil
}

// defaultDriver returns the parked driver where it is the default and works, else the thread driver.
func (l *Loop) defaultDriver(c *config, open openPoller) (driver, error) {
	if parkByDefault && c.Backend != BackendPoll {
		d, err := startDriver(newParkDriver(l, open))
		if err == nil {
			return d, nil
		}
		if c.OpenPoller == nil {
			c.Logger.Warn("event: parked driver does not work here; the loop takes a thread", "err", err)
		}
	}
	return startDriver(newThreadDriver(l, open, c.waker))
}

// startDriver opens the first poller of a driver.
func startDriver(d interface {
	driver
	loop() *Loop
}) (driver, error) {
	p, err := d.open()
	if err != nil {
		return nil, err
	}
	if err := d.adopt(p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	d.loop().poller = p
	return d, nil
}
