"""The HTTP API of galleries (design 4.1): a view parses, calls, renders; nothing else."""

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from coordinator.galleries import Galleries
from coordinator.gallery_store import Place, Version
from wire.galleries import MAX_PICTURE_BYTES, NOT, Enrolled, GalleryListing, path_of
from wire.openapi import bodies
from wire.web import UnsupportedMedia, encode

UNSAID = {"", "application/octet-stream", "application/x-www-form-urlencoded"}  # what senders say who do not care


def make(galleries: Galleries) -> Blueprint:
    """Return all routes."""
    bp = Blueprint("galleries", __name__)
    _add_reading(bp, galleries)
    _add_changing(bp, galleries)
    _add_negatives(bp, galleries)
    return bp


def _add_reading(bp: Blueprint, galleries: Galleries) -> None:
    @bp.get("/galleries")
    def list_galleries() -> ResponseReturnValue:
        """Return the galleries: how many people and pictures they have, and their versions."""
        return encode({"galleries": galleries.all()})

    @bp.get("/galleries/<gallery>")
    @bodies(gives=GalleryListing, also={304: "still the same"})
    def get_gallery(gallery: str) -> ResponseReturnValue:
        """Return the people of a gallery and their pictures' names and hashes; 304 when the ETag is still that."""
        if request.if_none_match.contains(_etag(galleries.version(gallery))):
            return _tagged(Response(status=304), _etag(galleries.version(gallery)))
        listing, version = galleries.get(gallery)
        return _tagged(encode(listing), _etag(version))

    @bp.get("/galleries/<gallery>/<label>/<name>")
    @bodies(media="image/*", also={304: "still the same"})
    def get_picture(gallery: str, label: str, name: str) -> ResponseReturnValue:
        """Return a picture as it was enrolled."""
        return _picture(galleries.picture(Place(gallery, label, name)))


def _add_changing(bp: Blueprint, galleries: Galleries) -> None:
    @bp.put("/galleries/<gallery>/<label>/<name>")
    @bodies(takes=bytes, takes_media="image/*", gives=Enrolled, also={201: "it is new"})
    def put_picture(gallery: str, label: str, name: str) -> ResponseReturnValue:
        """Enrol the largest face of the picture in the body: 201 when it is new, 422 when it shows nobody."""
        return _kept(galleries.put(Place(gallery, label, name), _body()))

    @bp.delete("/galleries/<gallery>")
    @bodies(status=204)
    def delete_gallery(gallery: str) -> ResponseReturnValue:
        """Remove a gallery; once more changes nothing."""
        galleries.delete(Place(gallery))
        return "", 204

    @bp.delete("/galleries/<gallery>/<label>")
    @bodies(status=204)
    def delete_label(gallery: str, label: str) -> ResponseReturnValue:
        """Remove a person with all pictures; once more changes nothing."""
        galleries.delete(Place(gallery, label))
        return "", 204

    @bp.delete("/galleries/<gallery>/<label>/<name>")
    @bodies(status=204)
    def delete_picture(gallery: str, label: str, name: str) -> ResponseReturnValue:
        """Remove a picture; once more changes nothing."""
        galleries.delete(Place(gallery, label, name))
        return "", 204


def _add_negatives(bp: Blueprint, galleries: Galleries) -> None:
    @bp.post("/galleries/<gallery>/<label>/not")
    @bodies(takes=bytes, takes_media="image/*", gives=Enrolled, also={201: "it is new"})
    def post_negative(gallery: str, label: str) -> ResponseReturnValue:
        """Say that the largest face of the picture in the body is not that person: 201 when it is new."""
        return _kept(galleries.refute(gallery, label, _body()), NOT)

    @bp.get("/galleries/<gallery>/<label>/not/<name>")
    @bodies(media="image/*", also={304: "still the same"})
    def get_negative(gallery: str, label: str, name: str) -> ResponseReturnValue:
        """Return a picture of somebody who is not that person."""
        return _picture(galleries.picture(Place(gallery, label, name), negative=True))

    @bp.delete("/galleries/<gallery>/<label>/not/<name>")
    @bodies(status=204)
    def delete_negative(gallery: str, label: str, name: str) -> ResponseReturnValue:
        """Forget a picture of somebody who is not that person; once more changes nothing."""
        galleries.delete(Place(gallery, label, name), negative=True)
        return "", 204


def _body() -> bytes:
    """Return the picture of the request. Raises UnsupportedMedia; Flask refuses what is too long."""
    if request.mimetype not in UNSAID and not request.mimetype.startswith("image/"):
        raise UnsupportedMedia(f"the body is a picture (image/jpeg, image/png, ...), not {request.mimetype}")
    request.max_content_length = MAX_PICTURE_BYTES
    return request.get_data()


def _kept(done: Enrolled, *between: str) -> ResponseReturnValue:
    status = 201 if done.change == "added" else 200
    return encode(done), status, {"Location": path_of(done.gallery, done.label, *between, done.name)}


def _picture(found: tuple[bytes, str, str]) -> Response:
    picture, sha256, kind = found
    response = _tagged(Response(picture, content_type=kind), sha256)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.make_conditional(request)
    return response


def _etag(version: Version) -> str:
    """Return what differs for any two states, also when a new database counts from the beginning again."""
    return f"{version.number}-{version.updated * 1000:.0f}"


def _tagged(response: Response, etag: str) -> Response:
    response.set_etag(etag)
    return response
