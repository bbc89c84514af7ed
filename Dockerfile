# An image with the release build and nothing else. NOT exercised by the tests: they run the binary itself.
# Build from the project's root: docker build -t leasehold .
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin leasehold

FROM debian:bookworm-slim
COPY --from=build /source/target/release/leasehold /usr/local/bin/leasehold
# A number, so that an orchestrator can see that it is not root.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/leasehold
USER 10001:10001
WORKDIR /var/lib/leasehold
# The database, the signing key and the claim secret: losing this volume loses them.
VOLUME /var/lib/leasehold
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/leasehold"]
CMD ["serve", "--config", "/etc/leasehold/leasehold.toml"]
