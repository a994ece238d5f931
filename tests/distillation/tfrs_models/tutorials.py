"""Models as the TFRS documentation writes them, with lookups inside.

Each takes a width, so that a large one is the teacher of a small one. Names,
layers and losses are those of the six tutorials: basic retrieval, basic
ranking, multitask, deep and cross, sequential retrieval, context features.
"""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

layers = tf.keras.layers


def id_tower(ids, dim, name=None):
    return tf.keras.Sequential(
        [
            layers.StringLookup(vocabulary=ids, mask_token=None),
            layers.Embedding(len(ids) + 1, dim),
        ],
        name=name,
    )


class BasicRetrieval(tfrs.Model):
    def __init__(self, users, films, dim):
        super().__init__()
        self.user_model = id_tower(users, dim)
        self.movie_model = id_tower(films, dim)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self.task(
            self.user_model(features["user_id"]),
            self.movie_model(features["movie_title"]),
            compute_metrics=not training,
        )


class BasicRanking(tfrs.Model):
    def __init__(self, users, films, dim):
        super().__init__()
        self.user_model = id_tower(users, dim)
        self.movie_model = id_tower(films, dim)
        self.ratings = tf.keras.Sequential(
            [
                layers.Dense(4 * dim, activation="relu"),
                layers.Dense(2 * dim, activation="relu"),
                layers.Dense(1),
            ]
        )
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(),
            metrics=[tf.keras.metrics.RootMeanSquaredError()],
        )

    def call(self, features):
        embedded = tf.concat(
            [
                self.user_model(features["user_id"]),
                self.movie_model(features["movie_title"]),
            ],
            axis=1,
        )
        return self.ratings(embedded)

    def compute_loss(self, features, training=False):
        features = dict(features)
        labels = features.pop("user_rating")
        return self.task(labels=labels, predictions=self(features))


class MultiTask(tfrs.Model):
    def __init__(
        self, users, films, dim, rating_weight=1.0, retrieval_weight=1.0
    ):
        super().__init__()
        self.user_model = id_tower(users, dim)
        self.movie_model = id_tower(films, dim)
        self.rating_model = tf.keras.Sequential(
            [layers.Dense(2 * dim, activation="relu"), layers.Dense(1)]
        )
        self.rating_task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(),
            metrics=[tf.keras.metrics.RootMeanSquaredError()],
        )
        self.retrieval_task = tfrs.tasks.Retrieval()
        self.rating_weight = rating_weight
        self.retrieval_weight = retrieval_weight

    def call(self, features):
        users = self.user_model(features["user_id"])
        films = self.movie_model(features["movie_title"])
        together = tf.concat([users, films], axis=1)
        return users, films, self.rating_model(together)

    def compute_loss(self, features, training=False):
        features = dict(features)
        ratings = features.pop("user_rating")
        users, films, predicted = self(features)
        rating_loss = self.rating_task(labels=ratings, predictions=predicted)
        retrieval_loss = self.retrieval_task(
            users, films, compute_metrics=not training
        )
        return (
            self.rating_weight * rating_loss
            + self.retrieval_weight * retrieval_loss
        )


class DeepAndCross(tfrs.Model):
    FEATURES = ("user_id", "movie_title", "user_gender", "user_occupation")

    def __init__(self, vocabularies, dim, projection_dim=None):
        super().__init__()
        self.embeddings = {
            name: id_tower(vocabularies[name], dim) for name in self.FEATURES
        }
        self.cross = tfrs.layers.dcn.Cross(
            projection_dim=projection_dim, kernel_initializer="glorot_uniform"
        )
        self.deep = [
            layers.Dense(6 * dim, activation="relu"),
            layers.Dense(3 * dim, activation="relu"),
        ]
        self.logit = layers.Dense(1)
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(),
            metrics=[tf.keras.metrics.RootMeanSquaredError("RMSE")],
        )

    def call(self, features):
        x = tf.concat(
            [self.embeddings[n](features[n]) for n in self.FEATURES], axis=1
        )
        x = self.cross(x)
        for layer in self.deep:
            x = layer(x)
        return self.logit(x)

    def compute_loss(self, features, training=False):
        features = dict(features)
        labels = features.pop("user_rating")
        return self.task(labels=labels, predictions=self(features))


class SequentialRetrieval(tfrs.Model):
    def __init__(self, films, dim):
        super().__init__()
        self._query_model = tf.keras.Sequential(
            [
                layers.StringLookup(vocabulary=films, mask_token=None),
                layers.Embedding(len(films) + 1, dim),
                layers.GRU(dim),
            ]
        )
        self._candidate_model = id_tower(films, dim)
        self._task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self._task(
            self._query_model(features["context_movie_title"]),
            self._candidate_model(features["label_movie_title"]),
            compute_metrics=not training,
        )


class UserModel(tf.keras.Model):
    def __init__(self, users, timestamps, dim):
        super().__init__()
        self.user_embedding = id_tower(users, dim)
        self.timestamp_embedding = tf.keras.Sequential(
            [
                layers.Discretization(
                    np.linspace(*np.quantile(timestamps, [0, 1]), 1000).tolist()
                ),
                layers.Embedding(1001, dim),
            ]
        )
        self.normalized_timestamp = layers.Normalization(axis=None)
        self.normalized_timestamp.adapt(timestamps)

    def call(self, inputs):
        return tf.concat(
            [
                self.user_embedding(inputs["user_id"]),
                self.timestamp_embedding(inputs["timestamp"]),
                tf.reshape(
                    self.normalized_timestamp(inputs["timestamp"]), (-1, 1)
                ),
            ],
            axis=1,
        )


class MovieModel(tf.keras.Model):
    def __init__(self, films, dim):
        super().__init__()
        self.title_embedding = id_tower(films, dim)
        self.title_vectorizer = layers.TextVectorization(max_tokens=2_000)
        self.title_text_embedding = tf.keras.Sequential(
            [
                self.title_vectorizer,
                layers.Embedding(2_000, dim, mask_zero=True),
                layers.GlobalAveragePooling1D(),
            ]
        )
        self.title_vectorizer.adapt(np.array(films, object))

    def call(self, titles):
        return tf.concat(
            [self.title_embedding(titles), self.title_text_embedding(titles)],
            axis=1,
        )


class ContextFeatures(tfrs.Model):
    def __init__(self, users, films, timestamps, dim):
        super().__init__()
        self.query_model = tf.keras.Sequential(
            [UserModel(users, timestamps, dim), layers.Dense(dim)]
        )
        self.candidate_model = tf.keras.Sequential(
            [MovieModel(films, dim), layers.Dense(dim)]
        )
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self.task(
            self.query_model(
                {
                    "user_id": features["user_id"],
                    "timestamp": features["timestamp"],
                }
            ),
            self.candidate_model(features["movie_title"]),
            compute_metrics=not training,
        )
