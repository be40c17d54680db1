package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics have a registry of their own. Labels are route patterns and status
// codes: never ids, keys or addresses.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	streams  prometheus.Gauge
}

func newMetrics(extra []prometheus.Collector) (*metrics, error) {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "timmy_http_requests_total", Help: "HTTP calls answered, by route and status.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "timmy_http_request_seconds", Help: "Time to answer an HTTP call, by route.",
			Buckets: []float64{.001, .005, .025, .1, .5, 1, 5, 15, 60, 180},
		}, []string{"route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "timmy_http_streams", Help: "Event streams that are open.",
		}),
	}
	own := []prometheus.Collector{
		m.requests, m.seconds, m.streams, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	for _, c := range append(own, extra...) {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(r *recorder, took time.Duration) {
	status := r.status
	if status == 0 {
		status = http.StatusOK
	}
	m.requests.WithLabelValues(r.route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(r.route).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4})
}
