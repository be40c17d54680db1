# syntax=docker/dockerfile:1
# The image holds one program, runs as nobody, and keeps everything in /data.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=1 go build -tags 'libsecp256k1 osusergo netgo sqlite_omit_load_extension' -trimpath \
	-ldflags '-s -w -linkmode external -extldflags "-static"' -o /out/timmy ./cmd/timmy \
	&& mkdir -p /out/data && chmod 0700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/timmy /usr/local/bin/timmy
COPY --from=build --chown=10001:10001 /out/data /data
ENV TIMMY_LISTEN=0.0.0.0:8080 TIMMY_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=20s --retries=3 CMD ["/usr/local/bin/timmy", "status", "--quiet"]
ENTRYPOINT ["/usr/local/bin/timmy"]
CMD ["run"]
